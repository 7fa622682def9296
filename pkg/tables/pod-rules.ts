/**
 * The rules of single attachments in all nf_tables tables: masquerading, ports, guarded bridge ports, firewall. The
 * executables write each part on their own; this module restores parts that another program removed (`nft flush
 * ruleset`) while the pods run.
 */

import { DEFAULT_ADMIN_CHAIN, POD_TABLE, SENDERS_TABLE } from "../footprint.ts";
import { isolatedBridges } from "../foreign/cni-forward.ts";
import { isolationDumps } from "../foreign/forward-look.ts";
import { isSameAddress } from "../ip/address.ts";
import { describeOwner } from "../kernel/owner.ts";
import type { Look } from "../netlink/look.ts";
import { decode, type Message, type Request } from "../netlink/message.ts";
import { NFPROTO, NFT_MSG_NEWTABLE } from "../netlink/nftables.ts";
import { generationOf, generationRequest } from "../netlink/ruleset.ts";
import { readRules, tablesDump } from "../nft/ruleset.ts";
import {
  addToFirewall,
  type Firewall,
  firewallDumps,
  holdsFirewall,
  readFirewall,
  removeFromFirewall,
  type SeenFirewall,
} from "./firewall.ts";
import { addGuards, deleteGuards, type GuardedPort, holdsGuard, macSpoofDumps, readGuards } from "./mac-spoof.ts";
import type { AcceptedPod, ForwardingSettings } from "./pod-forwarding.ts";
import {
  addPodMasquerade,
  deletePodMasquerade,
  holdsPodMasquerade,
  type PodMasquerade,
  podMasqueradeDumps,
  readPodMasquerade,
} from "./pod-masquerade.ts";
import {
  addPortMap,
  deletePortMap,
  describeHostPort,
  missingFromPortMap,
  portMapLook,
  portMapObstacle,
} from "./port-map.ts";
import { readPortMap } from "./port-map-reading.ts";
import type { PortMap } from "./port-mapping.ts";
import { addSenders, deleteSenders, senderAddresses, sendersDumps, sendersIn, senderTest } from "./senders.ts";
import { type GuardedSender, SENDERS_FAMILIES } from "./senders-table.ts";

export const POD_RULE_PARTS = ["masquerade", "portmap", "macspoofchk", "firewall", "senders"] as const;
export type PodRulePart = (typeof POD_RULE_PARTS)[number];

interface PodTable {
  readonly family: number;
  readonly name: string;
}

const TABLES: Readonly<Record<PodRulePart, readonly PodTable[]>> = {
  masquerade: [{ family: NFPROTO.inet, name: POD_TABLE.masquerade }],
  portmap: [{ family: NFPROTO.inet, name: POD_TABLE.portmap }],
  macspoofchk: [{ family: NFPROTO.bridge, name: POD_TABLE.macspoofchk }],
  firewall: [{ family: NFPROTO.inet, name: POD_TABLE.firewall }],
  senders: SENDERS_FAMILIES.map((family) => ({ family: NFPROTO[family], name: SENDERS_TABLE })),
};

/** The rules that an attachment should have; a part may be empty. */
export interface PodRules {
  readonly owner: string;
  readonly masquerades: readonly PodMasquerade[];
  readonly ports: PortMap;
  readonly guards: readonly GuardedPort[];
  readonly senders: readonly GuardedSender[];
  readonly firewall: Firewall;
  /** How the pods of `firewall` are accepted in other programs' chains. */
  readonly forward: ForwardingSettings;
}

/** The default settings. */
export const FORWARD_WISHES: ForwardingSettings = { adminChain: DEFAULT_ADMIN_CHAIN, usesFirewalld: undefined };
export const NO_FIREWALL: Firewall = { pods: [], policies: new Map() };

export interface SeenPodRules {
  /** The generation of the ruleset, read before anything else. */
  readonly generation: number | undefined;
  /**
   * The handles of the existing tables. Another handle means another table, which replaced a removed one. For a part with
   * several tables it is a number made of all their handles.
   */
  readonly handles: PodTables;
  readonly masquerades: readonly Message[];
  readonly ports: readonly Message[];
  readonly guards: readonly Message[];
  readonly senders: readonly Message[];
  readonly firewall: SeenFirewall;
  /** Bridges that the reference plugin isolates from each other. */
  readonly isolated: readonly string[];
}

export type PodTables = ReadonlyMap<PodRulePart, bigint>;

/** Reads which of the tables exist, with one small dump. */
export function* podTablesLook(): Look<PodTables> {
  const tables = (yield [tablesDump()]).map((message) => decode(NFT_MSG_NEWTABLE, message));
  const handleOf = ({ family, name }: PodTable) =>
    tables.find(({ header, attributes }) => header.family === family && attributes.name === name)?.attributes.handle;
  return new Map(
    POD_RULE_PARTS.flatMap((part) => {
      const handles = TABLES[part].map(handleOf);
      if (handles.every((handle) => handle === undefined)) return [];
      return [[part, handles.reduce<bigint>((whole, handle) => (whole << HANDLE_BITS) | (handle ?? 0n), 0n)] as const];
    }),
  );
}

/** The length of a handle in the kernel (u64). */
const HANDLE_BITS = 64n;

export function* podRulesLook(): Look<SeenPodRules> {
  const generation = generationOf(yield [generationRequest()]);
  return {
    generation,
    handles: yield* podTablesLook(),
    masquerades: yield podMasqueradeDumps(),
    ports: yield* portMapLook(),
    guards: yield macSpoofDumps(),
    senders: yield SENDERS_FAMILIES.flatMap(sendersDumps),
    firewall: readFirewall(yield firewallDumps()),
    isolated: isolatedBridges(readRules(yield isolationDumps())),
  };
}

/** The attachments with elements in the tables, by part. */
export function ownersOf(seen: SeenPodRules): ReadonlyMap<PodRulePart, ReadonlySet<string>> {
  const owners = (entries: readonly { readonly owner: string }[]) => new Set(entries.map(({ owner }) => owner));
  return new Map([
    ["masquerade", owners(readPodMasquerade(seen.masquerades))],
    ["portmap", owners(readPortMap(seen.ports).mappings)],
    ["macspoofchk", owners(readGuards(seen.guards))],
    ["firewall", owners(seen.firewall.pods)],
    ["senders", new Set(SENDERS_FAMILIES.flatMap((family) => [...sendersIn(family, seen.senders)]))],
  ]);
}

/** One part of an attachment's rules. */
export interface OwnedPart {
  readonly owner: string;
  readonly part: PodRulePart;
}

/** The reason why a part cannot be restored. */
export interface PodRulesObstacle extends OwnedPart {
  readonly reason: string;
}

export interface PodRulesPlan {
  /** One transaction; commit it only for the generation of the read. */
  readonly requests: readonly Request[];
  /** The parts that it restores. */
  readonly restored: readonly OwnedPart[];
  readonly obstacles: readonly PodRulesObstacle[];
}

/**
 * Plans the parts of `wanted` that the kernel lacks, next to other attachments' rules. `isDue` decides whether a
 * missing part is restored now. Nothing is taken from another attachment: if one now has an address or port, it keeps
 * it.
 */
export function planPodRules(
  seen: SeenPodRules,
  wanted: readonly PodRules[],
  isDue: (missing: OwnedPart) => boolean = () => true,
): PodRulesPlan {
  const parts = [planMasquerades, planPorts, planGuards, planFirewall, planSenders].map((plan) =>
    plan(seen, wanted, isDue),
  );
  return {
    requests: parts.flatMap(({ requests }) => requests),
    restored: parts.flatMap(({ restored }) => restored),
    obstacles: parts.flatMap(({ obstacles }) => obstacles),
  };
}

type PlanPart = (
  seen: SeenPodRules,
  wanted: readonly PodRules[],
  isDue: (missing: OwnedPart) => boolean,
) => PodRulesPlan;

/**
 * Selects the attachments without an obstacle, in order. `obstacleOf` receives the attachments that have already been
 * selected.
 */
function select(
  part: PodRulePart,
  missing: readonly PodRules[],
  isDue: (missing: OwnedPart) => boolean,
  obstacleOf: (rules: PodRules, taken: readonly PodRules[]) => string | undefined,
): { readonly taken: readonly PodRules[]; readonly obstacles: readonly PodRulesObstacle[] } {
  const taken: PodRules[] = [];
  const obstacles: PodRulesObstacle[] = [];
  for (const rules of missing) {
    const { owner } = rules;
    if (!isDue({ owner, part })) continue;
    const reason = obstacleOf(rules, taken);
    if (reason === undefined) taken.push(rules);
    else obstacles.push({ owner, part, reason });
  }
  return { taken, obstacles };
}

function planOf(
  part: PodRulePart,
  selected: ReturnType<typeof select>,
  requests: () => readonly Request[],
): PodRulesPlan {
  const { taken, obstacles } = selected;
  const restored = taken.map(({ owner }) => ({ owner, part }));
  return { requests: taken.length === 0 ? [] : requests(), restored, obstacles };
}

/** Returns a text if another attachment has an entry for an address of `entries`. */
function otherHolder<E extends Pick<PodMasquerade, "owner" | "address">>(
  entries: readonly E[],
  held: readonly E[],
): string | undefined {
  const other = held.find((entry) =>
    entries.some(({ owner, address }) => owner !== entry.owner && isSameAddress(address, entry.address)),
  );
  return other === undefined ? undefined : `${describeOwner(other.owner)} now has its address`;
}

const planMasquerades: PlanPart = (seen, wanted, isDue) => {
  const held = readPodMasquerade(seen.masquerades);
  const missing = wanted.filter(
    ({ masquerades }) => masquerades.length > 0 && !holdsPodMasquerade(seen.masquerades, masquerades),
  );
  const selected = select("masquerade", missing, isDue, ({ masquerades }, taken) =>
    otherHolder(masquerades, [...held, ...taken.flatMap((other) => other.masquerades)]),
  );
  const entries = selected.taken.flatMap(({ masquerades }) => masquerades);
  return planOf("masquerade", selected, () => addPodMasquerade(seen.masquerades, entries));
};

const planPorts: PlanPart = (seen, wanted, isDue) => {
  const held = readPortMap(seen.ports);
  const missing = wanted.filter(
    ({ ports }) => ports.mappings.length > 0 && missingFromPortMap(seen.ports, ports).length > 0,
  );
  const union = (rules: readonly PodRules[]): PortMap => ({
    mappings: rules.flatMap(({ ports }) => ports.mappings),
    masquerades: rules.flatMap(({ ports }) => ports.masquerades),
  });
  const selected = select("portmap", missing, isDue, ({ ports }, taken) => {
    const obstacle = portMapObstacle(ports, held) ?? portMapObstacle(ports, union(taken));
    if (obstacle === undefined) return undefined;
    return `${describeOwner(obstacle.holder.owner)} now has ${describeHostPort(obstacle.holder)}`;
  });
  return planOf("portmap", selected, () => addPortMap(seen.ports, union(selected.taken)).requests);
};

const planGuards: PlanPart = (seen, wanted, isDue) => {
  const missing = wanted.filter(({ guards }) => !guards.every((guard) => holdsGuard(seen.guards, guard)));
  const selected = select("macspoofchk", missing, isDue, () => undefined);
  const guards = selected.taken.flatMap((rules) => rules.guards);
  return planOf("macspoofchk", selected, () => addGuards(seen.guards, guards));
};

const planSenders: PlanPart = (seen, wanted, isDue) => {
  const isHeld = senderTest(seen.senders);
  const missing = wanted.filter(({ senders }) => !senders.every(isHeld));
  const addressesOf = ({ owner, senders }: PodRules) =>
    senders.flatMap(({ addresses }) => addresses.map((address) => ({ owner, address })));
  const held = missing.length === 0 ? [] : SENDERS_FAMILIES.flatMap((family) => senderAddresses(family, seen.senders));
  const selected = select("senders", missing, isDue, (rules, taken) =>
    otherHolder(addressesOf(rules), [...held, ...taken.flatMap(addressesOf)]),
  );
  const senders = selected.taken.flatMap((rules) => rules.senders);
  return planOf("senders", selected, () =>
    SENDERS_FAMILIES.flatMap((family) => {
      const own = senders.filter((sender) => sender.family === family);
      return own.length === 0 ? [] : addSenders(family, seen.senders, own);
    }),
  );
};

const planFirewall: PlanPart = (seen, wanted, isDue) => {
  const missing = wanted.filter(({ firewall }) => firewall.pods.length > 0 && !holdsFirewall(seen.firewall, firewall));
  const selected = select("firewall", missing, isDue, ({ firewall }, taken) =>
    otherHolder(firewall.pods, [...seen.firewall.pods, ...taken.flatMap((other) => other.firewall.pods)]),
  );
  return planOf("firewall", selected, () => addToFirewall(seen.firewall, unionOf(selected.taken), seen.isolated));
};

/** Merges the pods. A bridge is isolated if one pod requests it. */
function unionOf(rules: readonly PodRules[]): Firewall {
  const policies = rules.flatMap(({ firewall }) => [...firewall.policies]);
  const isolated = policies.filter(([, policy]) => policy === "isolated");
  return {
    pods: rules.flatMap(({ firewall }) => firewall.pods),
    policies: new Map([...policies, ...isolated]),
  };
}

/** Makes one transaction that removes all rules of the owners that `isWanted` selects; empty if there are none. */
export function removePodRules(seen: SeenPodRules, isWanted: (owner: string) => boolean): Request[] {
  return [
    ...deletePodMasquerade(seen.masquerades, isWanted),
    ...deletePortMap(seen.ports, isWanted),
    ...deleteGuards(seen.guards, isWanted),
    ...SENDERS_FAMILIES.flatMap((family) => deleteSenders(family, seen.senders, isWanted)),
    ...removeFromFirewall(seen.firewall, isWanted, seen.isolated).requests,
  ];
}

/** The pods that are, or will be, in our own table; others are being removed. */
export function acceptedPods(
  seen: SeenPodRules,
  wanted: readonly PodRules[],
  restored: readonly OwnedPart[],
): AcceptedPod[] {
  const known = new Set([
    ...seen.firewall.pods.map(({ owner }) => owner),
    ...restored.filter(({ part }) => part === "firewall").map(({ owner }) => owner),
  ]);
  return wanted
    .filter(({ owner, firewall }) => firewall.pods.length > 0 && known.has(owner))
    .map(({ owner, firewall, forward }) => ({
      ...{ owner, ...forward },
      addresses: firewall.pods.map(({ address }) => address),
    }));
}
