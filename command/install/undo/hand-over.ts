/**
 * Writes the reference plugins' rules for weft's attachments, then removes weft's rules. Packets always have rules:
 * while both exist, the first that translates or masquerades a connection applies, and both do the same. If the process
 * dies in between, weft's elements remain, and the next call writes the same rules again.
 */

import { changeSaved, run } from "../../../pkg/attachment/legacy-xtables.ts";
import { POD_TABLE, SENDERS_TABLE } from "../../../pkg/footprint.ts";
import { xtablesIsolatedBridges } from "../../../pkg/foreign/legacy-xtables.ts";
import { filterAddition, natAddition } from "../../../pkg/foreign/reference-iptables.ts";
import { nftScript } from "../../../pkg/foreign/reference-nftables.ts";
import type { ReferencePart } from "../../../pkg/foreign/reference-state.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import { changeSeen, readRuleset } from "../../../pkg/netlink/ruleset.ts";
import { deleteTable } from "../../../pkg/nft/ruleset.ts";
import type { System } from "../../../pkg/sys/system.ts";
import {
  deleteRuleRecords,
  readRuleRecords,
  removeFromFirewall,
  ruleRecordRequests,
} from "../../../pkg/tables/firewall.ts";
import { deleteGuards } from "../../../pkg/tables/mac-spoof.ts";
import { deletePodMasquerade } from "../../../pkg/tables/pod-masquerade.ts";
import { deletePortMap } from "../../../pkg/tables/port-map.ts";
import { FAMILIES, lookAtTables, type SeenRules, type SeenTables, toolsFor } from "./look.ts";
import type { HandOver, Obstacle, OwnedState } from "./states.ts";

const TABLES = ["nat", "filter"] as const;
const ADDITION = { nat: natAddition, filter: filterAddition } as const;
/** The maximum of attempts, since plugins that run meanwhile may change the state that the script assumes. */
const ATTEMPTS = 4;

/** Returns the commands that do the same by hand. */
export function handOverTexts(
  system: System,
  rules: SeenRules,
  { states, stale, settled }: HandOver,
  nft: string | undefined,
): string[] {
  const wanted = states.map(({ state }) => state);
  const additions = FAMILIES.flatMap((family) =>
    TABLES.flatMap((table) => {
      const tools = toolsFor(system, family, table);
      const input = tools === undefined ? "" : ADDITION[table](tools.saved, wanted, family);
      return input === "" ? [] : [withInput(`${tools?.restore} --noflush --wait`, input)];
    }),
  );
  const script = nftScript(rules.reference, wanted);
  const removal = removalRequests(rules.tables, [...states.map(partOf), ...stale, ...settled], []);
  return [
    ...additions,
    ...(script === "" ? [] : [withInput(`${nft} -f -`, script)]),
    ...removal.map(({ text }) => text),
  ];
}

function withInput(command: string, input: string): string {
  return `${command} <<'END'\n${input}END`;
}

/** Parts that were handed over, and parts that were refused. */
export interface HandedOver {
  readonly done: readonly Pick<Obstacle, "owner" | "part">[];
  readonly refused: readonly Obstacle[];
}

/** Throws `SystemError` and `NetlinkError` if weft's own tables cannot be changed. */
export function handOver(
  system: System,
  { states, stale, settled }: HandOver,
  look: () => SeenRules | undefined,
  nft: string | undefined,
): HandedOver {
  const refused = write(states, (some) => writeStates(system, some, look, nft));
  const isRefused = ({ owner, part }: Pick<Obstacle, "owner" | "part">) =>
    refused.some((one) => one.owner === owner && one.part === part);
  const done = [...states.map(partOf).filter((one) => !isRefused(one)), ...stale, ...settled];
  removeOwn(system, done);
  return { done, refused };
}

function partOf({ owner, state }: OwnedState): Pick<Obstacle, "owner" | "part"> {
  return { owner, part: state.part };
}

/**
 * Applies all states at once. If that fails, applies each container's states separately, so that refused rules of one
 * container do not block the others.
 */
function write(states: readonly OwnedState[], apply: (some: readonly OwnedState[]) => void): Obstacle[] {
  if (states.length === 0) return [];
  const failure = complaintOf(() => apply(states));
  if (failure === undefined) return [];
  const groups = new Map<string, OwnedState[]>();
  for (const owned of states) {
    // iptables' chains are shared by all interfaces of a container on a network.
    const { network, containerId } = owned.state.attachment;
    const key = `${network}/${containerId}/${owned.state.part}`;
    groups.set(key, [...(groups.get(key) ?? []), owned]);
  }
  return [...groups.values()].flatMap((group) => {
    const reason = groups.size === 1 ? failure : complaintOf(() => apply(group));
    return reason === undefined ? [] : group.map((owned) => ({ ...partOf(owned), reason }));
  });
}

function complaintOf(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function writeStates(
  system: System,
  owned: readonly OwnedState[],
  look: () => SeenRules | undefined,
  nft: string | undefined,
): void {
  const states = owned.map(({ state }) => state);
  for (const family of FAMILIES) {
    for (const table of TABLES) {
      const isWanted = states.some((state) => (state.part === "firewall") === (table === "filter"));
      const tools = isWanted ? toolsFor(system, family, table) : undefined;
      if (tools !== undefined) changeSaved(system, tools, table, (saved) => ADDITION[table](saved, states, family));
    }
  }
  for (let attempt = 1; ; attempt++) {
    const script = nftScript(look()?.reference ?? [], states);
    if (script === "" || nft === undefined) return;
    try {
      run(system, nft, ["-f", "-"], script);
      return;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

/** Removes, in one transaction, only the objects that were read. A table is removed with its last attachment. */
function removeOwn(system: System, parts: readonly Pick<Obstacle, "owner" | "part">[]): void {
  const isolated = isolatedBridges(system);
  changeSeen(
    system,
    (netfilter) => {
      const tables = lookAtTables(netfilter);
      const leaving = tables.firewall.pods.filter(({ owner }) => isNamed(parts, "firewall", owner));
      const records = readRuleRecords(
        readRuleset(netfilter, ruleRecordRequests(leaving.map(({ address }) => address))),
      );
      return { tables, records };
    },
    ({ tables, records }) => ({
      requests: removalRequests(tables, parts, isolated, deleteRuleRecords(records)),
      generation: tables.generation,
    }),
  );
}

function isolatedBridges(system: System): string[] {
  return [
    ...new Set(FAMILIES.flatMap((family) => xtablesIsolatedBridges(toolsFor(system, family, "filter")?.saved ?? ""))),
  ];
}

function isNamed(parts: readonly Pick<Obstacle, "owner" | "part">[], part: ReferencePart, owner: string): boolean {
  return parts.some((one) => one.part === part && one.owner === owner);
}

function removalRequests(
  tables: SeenTables,
  parts: readonly Pick<Obstacle, "owner" | "part">[],
  isolated: readonly string[],
  records: readonly Request[] = [],
): Request[] {
  const goes = (part: ReferencePart) => (owner: string) => isNamed(parts, part, owner);
  const remove = (
    name: (typeof POD_TABLE)[keyof typeof POD_TABLE],
    part: ReferencePart,
    owners: readonly { readonly owner: string }[],
    elements: () => readonly Request[],
  ): readonly Request[] => {
    const place = tables.places.find(({ table }) => table === name);
    if (place === undefined) return [];
    return owners.every(({ owner }) => goes(part)(owner)) ? [deleteTable(place)] : elements();
  };
  const { dumped, ports } = tables;
  return [
    ...remove(POD_TABLE.masquerade, "masquerade", tables.masquerades, () =>
      deletePodMasquerade(dumped, goes("masquerade")),
    ),
    ...remove(POD_TABLE.portmap, "portmap", [...ports.mappings, ...ports.masquerades], () =>
      deletePortMap(dumped, goes("portmap")),
    ),
    ...remove(POD_TABLE.macspoofchk, "spoof-check", tables.guards, () => deleteGuards(dumped, goes("spoof-check"))),
    ...remove(POD_TABLE.firewall, "firewall", tables.firewall.pods, () => [
      ...removeFromFirewall(tables.seenFirewall, goes("firewall"), isolated).requests,
      ...records,
    ]),
    // The reference plugins have no counterpart, and their DEL would leave these elements.
    ...tables.places.filter(({ table }) => table === SENDERS_TABLE).map((place) => deleteTable(place)),
  ];
}
