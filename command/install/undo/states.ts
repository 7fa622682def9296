/**
 * Computes the state that each of weft's attachments would have if the reference plugins had created it. weft's tables
 * show the rules in force, and the runtime's cached results have the keys that the tables do not contain. Pure.
 */

import { type CachedAttachment, mainPlugin } from "../../../pkg/attachment/cached.ts";
import type { ConfigObject } from "../../../pkg/cni/config.ts";
import { isCniError } from "../../../pkg/cni/errors.ts";
import { DEFAULT_ADMIN_CHAIN, DEFAULT_MARK_BIT } from "../../../pkg/footprint.ts";
import type {
  ReferenceBackend,
  ReferencePart,
  ReferencePort,
  ReferencePorts,
  ReferenceState,
} from "../../../pkg/foreign/reference-state.ts";
import { type Address, addressBits, type Family, isSameAddress } from "../../../pkg/ip/address.ts";
import { contains, IPV4_LOOPBACK, isSamePrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import { type Attachment, describeOwner, ownerMark } from "../../../pkg/kernel/owner.ts";
import type { Firewall } from "../../../pkg/tables/firewall.ts";
import type { GuardedPort } from "../../../pkg/tables/mac-spoof.ts";
import type { PodMasquerade } from "../../../pkg/tables/pod-masquerade.ts";
import type { PortMap } from "../../../pkg/tables/port-mapping.ts";

/** The content of weft's tables for attachments. */
export interface OwnTables {
  readonly masquerades: readonly PodMasquerade[];
  readonly ports: PortMap;
  readonly guards: readonly GuardedPort[];
  readonly firewall: Firewall;
}

export interface Circumstances {
  readonly cached: readonly CachedAttachment[];
  /** False if nothing of the attachment is left on the node. */
  isAlive(mark: string, addresses: readonly Address[]): boolean;
  /** True if the plugin's name belongs to another program's file once the executables are restored. */
  isForeign(plugin: string): boolean;
  /** Families for which the host has iptables-save and iptables-restore. */
  readonly iptables: ReadonlySet<Family>;
  readonly hasNft: boolean;
  /** True if firewalld accepts the pods' packets, so iptables' rules are not needed. */
  readonly hasFirewalld: boolean;
}

/** A state that can be written, and the mark of the elements that it replaces. */
export interface OwnedState {
  readonly owner: string;
  readonly state: ReferenceState;
}

/** A part of an attachment that cannot be handed over. */
export interface Obstacle {
  readonly owner: string;
  readonly part: ReferencePart;
  readonly reason: string;
}

export interface HandOver {
  readonly states: readonly OwnedState[];
  readonly obstacles: readonly Obstacle[];
  /** Parts that are handed over incompletely; the reason says what is unknown. */
  readonly doubts: readonly Obstacle[];
  /** Owners of which only the elements are left, by part. */
  readonly stale: readonly Pick<Obstacle, "owner" | "part">[];
  /** Parts for which only weft's elements are removed, since firewalld has the rules. */
  readonly settled: readonly Pick<Obstacle, "owner" | "part">[];
}

const PLUGINS: Readonly<Record<ReferencePart, readonly string[]>> = {
  masquerade: ["bridge", "ptp"],
  portmap: ["portmap"],
  "spoof-check": ["bridge"],
  firewall: ["firewall"],
};

export function planHandOver(tables: OwnTables, circumstances: Circumstances): HandOver {
  const known = new Map(circumstances.cached.map((cached) => [ownerMark(cached), cached]));
  const addresses = addressesByOwner(tables);
  const plan = {
    states: [] as OwnedState[],
    obstacles: [] as Obstacle[],
    doubts: [] as Obstacle[],
    stale: [] as Obstacle[],
    settled: [] as Obstacle[],
  };
  for (const [part, owners] of ownersByPart(tables)) {
    for (const owner of owners) {
      const cached = known.get(owner);
      const told = { owner, part, reason: "" };
      if (!circumstances.isAlive(owner, addresses.get(owner) ?? [])) plan.stale.push(told);
      else {
        const outcome = outcomeOf({ part, owner, cached, tables, circumstances });
        if (typeof outcome !== "string") {
          plan.states.push({ owner, state: outcome });
          if (cached === undefined && hasUnknownOrder(outcome)) plan.doubts.push({ ...told, reason: UNKNOWN_ORDER });
        } else if (outcome === FIREWALLD) plan.settled.push(told);
        else plan.obstacles.push({ ...told, reason: outcome });
      }
    }
  }
  return plan;
}

const UNKNOWN_ORDER =
  "the order of its ports is not known, since the runtime's cache has no configuration; the reference's CHECK, which " +
  "compares the order, may fail, but its DEL works";

/** True if the order matters: iptables has several ports of a protocol in one rule. */
function hasUnknownOrder(state: ReferenceState): boolean {
  if (state.part !== "portmap" || state.backend !== "iptables") return false;
  const protocols = state.ports.map(({ protocol }) => protocol);
  return new Set(protocols).size < protocols.length;
}

/** The text for an operator. */
export function describeObstacle({ owner, part, reason }: Obstacle): string {
  return `${part} of ${describeOwner(owner)}: ${reason}`;
}

interface Asked {
  readonly part: ReferencePart;
  readonly owner: string;
  readonly cached: CachedAttachment | undefined;
  readonly tables: OwnTables;
  readonly circumstances: Circumstances;
}

const FIREWALLD = "firewalld has it";

/** Returns the state, or the reason why there is none. */
function outcomeOf(asked: Asked): ReferenceState | string {
  const { part, owner, cached, circumstances } = asked;
  const attachment = cached ?? attachmentOf(owner);
  if (attachment === undefined)
    return "its mark is shortened, and the runtime's cache has no result with its full names";
  if (!pluginsOf(part, cached).some(circumstances.isForeign)) {
    return `no other program's ${PLUGINS[part].join(" or ")} replaces weft's`;
  }
  try {
    return stateOf(asked, {
      network: attachment.network,
      containerId: attachment.containerId,
      ifName: attachment.ifName,
    });
  } catch (error) {
    if (isCniError(error)) return `its configuration in the runtime's cache is invalid: ${error.message}`;
    throw error;
  }
}

function stateOf(asked: Asked, attachment: Attachment): ReferenceState | string {
  switch (asked.part) {
    case "masquerade":
      return masqueradeOf(asked, attachment);
    case "portmap":
      return portsOf(asked, attachment);
    case "spoof-check":
      return spoofCheckOf(asked, attachment);
    case "firewall":
      return firewallOf(asked, attachment);
  }
}

/** Marks contain names that are too long as digests, which begin with "~". */
function attachmentOf(mark: string): Attachment | undefined {
  const [, network, containerId, ifName] = /^cni:([^/~]+)\/([^/~]+)\/([^/~]+)$/.exec(mark) ?? [];
  if (network === undefined || containerId === undefined || ifName === undefined) return undefined;
  return { network, containerId, ifName };
}

/** Returns the plugins of this part that the attachment uses, or all if that is not known. */
function pluginsOf(part: ReferencePart, cached: CachedAttachment | undefined): readonly string[] {
  const main = cached?.plugins[0] === undefined ? undefined : mainPlugin(cached.plugins[0]).type;
  const own = PLUGINS[part].filter((name) => main === name);
  return own.length === 0 ? PLUGINS[part] : own;
}

function configOf(cached: CachedAttachment | undefined, type: string): ConfigObject | undefined {
  return cached?.plugins.find((plugin) => plugin.value("type") === type);
}

/** Returns the reference's default if nothing is configured: iptables, unless only nft is installed. */
function backendOf(named: string | undefined, { iptables, hasNft }: Circumstances): ReferenceBackend | string {
  const backend = named || (!iptables.has(4) && hasNft ? "nftables" : "iptables");
  if (backend === "nftables")
    return hasNft ? backend : "the node has no nft program, which the reference needs for nftables";
  if (backend !== "iptables") return `the reference has no backend ${JSON.stringify(backend)}`;
  return backend;
}

function isBackend(text: string): text is ReferenceBackend {
  return text === "iptables" || text === "nftables";
}

/** Returns a message if iptables for one of the families is missing. */
function missingIptables(addresses: readonly Address[], { iptables }: Circumstances): string | undefined {
  const missing = addresses.find(({ family }) => !iptables.has(family));
  if (missing === undefined) return undefined;
  const program = missing.family === 4 ? "iptables" : "ip6tables";
  return `the node has no ${program}-save and ${program}-restore, which are needed to write the reference's rules`;
}

function masqueradeOf(
  { owner, cached, tables, circumstances }: Asked,
  attachment: Attachment,
): ReferenceState | string {
  const first = cached?.plugins[0];
  const named = first === undefined ? undefined : mainPlugin(first).config.optionalString("ipMasqBackend");
  const backend = backendOf(named, circumstances);
  if (!isBackend(backend)) return backend;
  const own = tables.masquerades.filter((entry) => entry.owner === owner);
  const missing = missingIptables(
    own.map(({ address }) => address),
    circumstances,
  );
  if (backend === "iptables" && missing !== undefined) return missing;
  const addresses = own.map(({ address, subnet }) => ({ address, length: subnet.length }));
  return { part: "masquerade", attachment, backend, addresses };
}

function portsOf(asked: Asked, attachment: Attachment): ReferenceState | string {
  const { owner, cached, tables, circumstances } = asked;
  const config = configOf(cached, "portmap");
  const backend = backendOf(config?.optionalString("backend"), circumstances);
  if (!isBackend(backend)) return backend;
  const targets = tables.ports.mappings.filter((mapping) => mapping.owner === owner).map(({ target }) => target);
  const missing = backend === "iptables" ? missingIptables(targets, circumstances) : undefined;
  if (missing !== undefined) return missing;
  const addresses = ([4, 6] as const).flatMap((family): Prefix[] => {
    const address = targets.find((target) => target.family === family);
    return address === undefined ? [] : [{ address, length: lengthOf(address, asked) }];
  });
  const isConditional = tables.ports.mappings.some((mapping) => mapping.owner === owner && mapping.host.condition);
  if (config === undefined && isConditional)
    return "its ports have conditions, and the runtime's cache has no configuration with their text";
  const state = { part: "portmap", attachment, backend, addresses } as const;
  return config === undefined
    ? { ...state, ...portsByTable(tables.ports, owner, addresses) }
    : { ...state, ...portsByConfig(config) };
}

type PortSettings = Omit<ReferencePorts, "part" | "attachment" | "backend" | "addresses">;

function portsByConfig(config: ConfigObject): PortSettings {
  return {
    snat: config.optionalBoolean("snat") ?? true,
    masqAll: config.optionalBoolean("masqAll") ?? false,
    markBit: config.optionalInteger("markMasqBit", { min: 0, max: 31 }) ?? DEFAULT_MARK_BIT,
    setMarkChain: config.optionalString("externalSetMarkChain"),
    conditions: { 4: config.stringList("conditionsV4"), 6: config.stringList("conditionsV6") },
    ports: config
      .object("runtimeConfig")
      .objectList("portMappings")
      .map((port) => ({
        protocol: port.requiredString("protocol").toLowerCase(),
        hostPort: port.requiredInteger("hostPort"),
        containerPort: port.requiredInteger("containerPort"),
        hostAddress: port.optionalAddress("hostIP"),
      })),
  };
}

/** Protocol numbers of IANA. */
const PROTOCOLS: Readonly<Record<number, string>> = { 6: "tcp", 17: "udp", 132: "sctp" };

/** Returns ports sorted by number, since the runtime's order is not known. */
function portsByTable({ mappings, masquerades }: PortMap, owner: string, addresses: readonly Prefix[]): PortSettings {
  const own = mappings.filter((mapping) => mapping.owner === owner);
  const sources = masquerades.filter((entry) => entry.owner === owner);
  const ports = own.map(({ host, target, targetPort }): ReferencePort & { readonly family: Family } => ({
    protocol: PROTOCOLS[host.protocol] ?? String(host.protocol),
    hostPort: host.port,
    containerPort: targetPort,
    hostAddress: host.address,
    family: target.family,
  }));
  const isTwin = (one: (typeof ports)[number], other: (typeof ports)[number]) =>
    one.family !== other.family && one.hostPort === other.hostPort && one.protocol === other.protocol;
  return {
    snat: sources.length > 0,
    masqAll: sources.some(({ source }) => source.length === 0),
    markBit: sources[0]?.markBit ?? DEFAULT_MARK_BIT,
    setMarkChain: undefined,
    conditions: { 4: [], 6: [] },
    ports: ports
      .filter(
        (port) => !(port.family === 6 && port.hostAddress === undefined && ports.some((other) => isTwin(port, other))),
      )
      .map(({ family, hostAddress, ...port }) => {
        const hasTwin = ports.some((other) => isTwin({ ...port, family, hostAddress }, other));
        const isOfOneFamily = hostAddress === undefined && addresses.length > 1 && !hasTwin;
        return { ...port, hostAddress: isOfOneFamily ? { family, value: 0n } : hostAddress };
      })
      .sort((one, other) => one.hostPort - other.hostPort),
  };
}

/** Returns the prefix length of the pod's subnet, or the length of the address if the subnet is not known. */
function lengthOf(address: Address, { owner, cached, tables }: Asked): number {
  const told = cached?.result.ips.find((ip) => isSameAddress(ip.address.address, address))?.address.length;
  const masqueraded = tables.masquerades.find((entry) => isSameAddress(entry.address, address))?.subnet.length;
  const hairpin = tables.ports.masquerades
    .filter((entry) => entry.owner === owner && contains(entry.source, address))
    .map(({ source }) => source)
    .find((source) => source.length > 0 && !isSamePrefix(source, IPV4_LOOPBACK));
  return told ?? masqueraded ?? hairpin?.length ?? addressBits(address.family);
}

function spoofCheckOf({ owner, tables, circumstances }: Asked, attachment: Attachment): ReferenceState | string {
  const guard = tables.guards.find((each) => each.owner === owner);
  if (guard === undefined) return "its port is not known";
  if (!circumstances.hasNft) return "the node has no nft program, which the reference needs for the spoof check";
  return { part: "spoof-check", attachment, port: guard.port, mac: guard.mac };
}

function firewallOf({ owner, cached, tables, circumstances }: Asked, attachment: Attachment): ReferenceState | string {
  const config = configOf(cached, "firewall");
  const backend = config?.optionalString("backend") ?? "";
  if (backend === "firewalld" || (backend !== "iptables" && circumstances.hasFirewalld)) return FIREWALLD;
  const pods = tables.firewall.pods.filter((pod) => pod.owner === owner);
  const addresses = pods.map(({ address }) => address);
  const missing = missingIptables(addresses, circumstances);
  if (missing !== undefined) return missing;
  const bridge = pods.find((pod) => pod.bridge !== undefined)?.bridge;
  const kind = bridge === undefined ? undefined : tables.firewall.policies.get(bridge);
  return {
    part: "firewall",
    attachment,
    addresses,
    adminChain: config?.optionalString("iptablesAdminChainName") || DEFAULT_ADMIN_CHAIN,
    policy: bridge === undefined || kind === undefined ? undefined : { bridge, kind },
  };
}

function ownersByPart({ masquerades, ports, guards, firewall }: OwnTables): [ReferencePart, ReadonlySet<string>][] {
  const owners = (entries: readonly { readonly owner: string }[]) => new Set(entries.map(({ owner }) => owner));
  return [
    ["masquerade", owners(masquerades)],
    ["portmap", owners([...ports.mappings, ...ports.masquerades])],
    ["spoof-check", owners(guards)],
    ["firewall", owners(firewall.pods)],
  ];
}

function addressesByOwner({ masquerades, ports, firewall }: OwnTables): ReadonlyMap<string, readonly Address[]> {
  const found = new Map<string, Address[]>();
  const entries = [
    ...masquerades,
    ...ports.mappings.map(({ owner, target }) => ({ owner, address: target })),
    ...firewall.pods,
  ];
  for (const { owner, address } of entries) found.set(owner, [...(found.get(owner) ?? []), address]);
  return found;
}
