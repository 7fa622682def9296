/**
 * The Go plugins' state in nf_tables, in their own tables and iptables-nft's, and the transaction that removes it.
 * Chains and tables that all attachments share are removed with the last attachment.
 */
import type { Read } from "../netlink/look.ts";
import type { Message, Request } from "../netlink/message.ts";
import { NFPROTO } from "../netlink/nftables.ts";
import {
  type ChainPlace,
  chainRequest,
  deleteChain,
  deleteRule,
  deleteTable,
  isSameChain,
  type NftChain,
  type NftRule,
  readChains,
  readRules,
  readTables,
  rulesDump,
  type TablePlace,
  tablesDump,
  verdictOf,
} from "../nft/ruleset.ts";
import {
  HOST_PORT_CHAINS,
  HOST_PORT_TABLE,
  type LegacyPart,
  type LegacySelection,
  MASQUERADE_TABLE,
  NAT_ENTRIES,
  SPOOF_CHECK_TABLE,
} from "./legacy-names.ts";

const IP_FAMILIES: readonly number[] = [NFPROTO.ip, NFPROTO.ip6];

/** Sends only one query if there is no table of the Go plugins or of iptables. */
export function lookAtLegacy(read: Read, selection: LegacySelection, parts: readonly LegacyPart[]): Message[] {
  const tables = read([tablesDump()]);
  const seen = [...tables];
  for (const place of readTables(tables)) {
    const isNat = IP_FAMILIES.includes(place.family) && place.table === "nat";
    if (isNat && (parts.includes("masquerade") || parts.includes("portmap")))
      seen.push(...lookAtNat(read, place, selection));
    const chains = [...ownTableChains(place, parts), ...spoofCheckChains(place, selection)];
    seen.push(...readAll(read, place, chains));
  }
  return seen;
}

function lookAtNat(read: Read, place: TablePlace, { natChains }: LegacySelection): readonly Message[] {
  const shared = [...NAT_ENTRIES, ...HOST_PORT_CHAINS];
  if (natChains === undefined) {
    const seen = readAll(read, place, shared);
    const targets = new Set(readRules(seen).flatMap((rule) => verdictOf(rule)?.chain ?? []));
    return [
      ...seen,
      ...readAll(
        read,
        place,
        [...targets].filter((name) => isOfAttachment(name)),
      ),
    ];
  }
  const own = read(natChains.map((chain) => chainRequest({ ...place, chain })));
  if (own.length === 0) return [];
  return [...own, ...read(natChains.map((chain) => rulesDump({ ...place, chain }))), ...readAll(read, place, shared)];
}

/** True for chains of single attachments, false for shared chains. */
function isOfAttachment(name: string): boolean {
  return name.startsWith("CNI-") && !HOST_PORT_CHAINS.some((chain) => chain === name);
}

function ownTableChains({ family, table }: TablePlace, parts: readonly LegacyPart[]): readonly string[] {
  if (parts.includes("masquerade") && family === NFPROTO.inet && table === MASQUERADE_TABLE.table)
    return MASQUERADE_TABLE.chains;
  if (parts.includes("portmap") && IP_FAMILIES.includes(family) && table === HOST_PORT_TABLE.table)
    return HOST_PORT_TABLE.chains;
  return [];
}

function spoofCheckChains({ family, table }: TablePlace, { spoofChains }: LegacySelection): readonly string[] {
  const isTheirs = family === NFPROTO.bridge && table === SPOOF_CHECK_TABLE.table && spoofChains.length > 0;
  return isTheirs ? [SPOOF_CHECK_TABLE.entry, ...spoofChains] : [];
}

/** Returns the chains and their rules. */
function readAll(read: Read, place: TablePlace, chains: readonly string[]): readonly Message[] {
  const places = chains.map((chain) => ({ ...place, chain }));
  return [...read(places.map(chainRequest)), ...read(places.map(rulesDump))];
}

/**
 * True if the state of `part` is complete as far as it can be checked: rules of the attachment exist, and packets reach
 * them. `seen` are the answers that `lookAtLegacy` received for this selection. portmap's rules count only in tables of
 * `family`.
 */
export function isLegacyThere(
  seen: readonly Message[],
  selection: LegacySelection,
  part: LegacyPart,
  family: number,
): boolean {
  const tables = readTables(seen).map((place) => new LegacyTable(place, seen));
  const of = (families: readonly number[], name: string) =>
    tables.filter(({ place }) => families.includes(place.family) && place.table === name);
  const hasRule = (table: LegacyTable, chains: readonly string[], isOwn: (comment: string) => boolean) =>
    chains.some((chain) => table.rulesOf(chain).some(({ comment }) => comment !== undefined && isOwn(comment)));
  const inNat = () =>
    of([family], "nat").some(
      (table) => selection.natChains?.some((chain) => table.isInUse(chain, NAT_ENTRIES)) === true,
    );
  switch (part) {
    case "masquerade":
      return (
        of([NFPROTO.inet], MASQUERADE_TABLE.table).some((table) =>
          hasRule(table, MASQUERADE_TABLE.chains, (comment) => selection.isMasqueradeRule(comment)),
        ) || inNat()
      );
    case "portmap":
      return (
        of([family], HOST_PORT_TABLE.table).some((table) =>
          hasRule(table, HOST_PORT_TABLE.portChains, (comment) => selection.isHostPortRule(comment)),
        ) || inNat()
      );
    case "spoof-check":
      return of([NFPROTO.bridge], SPOOF_CHECK_TABLE.table).some((table) =>
        selection.spoofChains.every((chain) => table.isInUse(chain, [SPOOF_CHECK_TABLE.entry])),
      );
  }
}

/** The result of `planLegacyRemoval`. */
export interface LegacyRemoval {
  readonly requests: readonly Request[];
  /** True if something shared is removed, too. This is only correct if nothing has changed since the read. */
  readonly needsGeneration: boolean;
}

/**
 * Returns no requests if there is nothing to remove. ENOENT means that another program has removed it since the read.
 */
export function planLegacyRemoval(seen: readonly Message[], selection: LegacySelection): LegacyRemoval {
  const plans = readTables(seen).map((place) => planTable(new LegacyTable(place, seen), selection));
  return {
    requests: plans.flatMap(({ requests }) => requests),
    needsGeneration: plans.some(({ needsGeneration }) => needsGeneration),
  };
}

const NOTHING: LegacyRemoval = { requests: [], needsGeneration: false };

function planTable(table: LegacyTable, selection: LegacySelection): LegacyRemoval {
  const { family, table: name } = table.place;
  if (family === NFPROTO.inet && name === MASQUERADE_TABLE.table) {
    return withoutRules(table, MASQUERADE_TABLE.chains, selection.isMasqueradeRule);
  }
  if (IP_FAMILIES.includes(family) && name === HOST_PORT_TABLE.table) {
    return withoutRules(table, HOST_PORT_TABLE.chains, selection.isHostPortRule);
  }
  if (IP_FAMILIES.includes(family) && name === "nat") return withoutNatChains(table, selection);
  if (family === NFPROTO.bridge && name === SPOOF_CHECK_TABLE.table) return withoutSpoofCheck(table, selection);
  return NOTHING;
}

/** One table, as far as it was read. */
class LegacyTable {
  readonly place: TablePlace;
  readonly chains: readonly NftChain[];
  readonly rules: readonly NftRule[];

  constructor(place: TablePlace, seen: readonly Message[]) {
    const isHere = (one: TablePlace) => one.family === place.family && one.table === place.table;
    this.place = place;
    this.chains = readChains(seen).filter(isHere);
    this.rules = readRules(seen).filter(isHere);
  }

  find(chain: string): NftChain | undefined {
    return this.chains.find((one) => one.chain === chain);
  }

  rulesOf(chain: string): NftRule[] {
    return this.rules.filter((rule) => rule.chain === chain);
  }

  leadingTo(chain: string): NftRule[] {
    return this.rules.filter((rule) => verdictOf(rule)?.chain === chain);
  }

  /** True if the chain has rules and can be reached from one of `entries` by rules that were read. */
  isInUse(chain: string, entries: readonly string[]): boolean {
    const isReached = (name: string): boolean =>
      entries.includes(name) || this.leadingTo(name).some((rule) => isReached(rule.chain));
    return this.rulesOf(chain).length > 0 && isReached(chain);
  }

  /** True if only rules that were read refer to the chain. */
  isSpare(chain: NftChain): boolean {
    return chain.use === this.rulesOf(chain.chain).length + this.leadingTo(chain.chain).length;
  }
}

/** Removes rules of the Go plugins' own table, and the table with its last rule. */
function withoutRules(
  table: LegacyTable,
  chains: readonly string[],
  isWanted: (comment: string) => boolean,
): LegacyRemoval {
  const rules = chains.flatMap((chain) => table.rulesOf(chain));
  const wanted = rules.filter(({ comment }) => comment !== undefined && isWanted(comment));
  if (wanted.length === 0) return NOTHING;
  if (wanted.length < rules.length) return { requests: wanted.map(deleteRule), needsGeneration: false };
  return { requests: [deleteTable(table.place)], needsGeneration: true };
}

/** Removes chains of attachments in iptables' nat table, the jumps to them, and portmap's shared chains. */
function withoutNatChains(table: LegacyTable, selection: LegacySelection): LegacyRemoval {
  const names = new Set([
    ...table.chains.map(({ chain }) => chain),
    ...table.rules.flatMap((rule) => verdictOf(rule)?.chain ?? []),
  ]);
  const gone = [...names].filter((name) =>
    selection.isNatChain(
      name,
      table.leadingTo(name).flatMap(({ comment }) => comment ?? []),
    ),
  );
  if (gone.length === 0) return NOTHING;
  const jumps = gone.flatMap((name) => table.leadingTo(name));
  const [isShared, shared] = withoutHostPorts(table, jumps);
  return {
    requests: [...jumps.map(deleteRule), ...gone.map((chain) => deleteChain({ ...table.place, chain })), ...shared],
    needsGeneration: isShared,
  };
}

/** Removes portmap's chains if `leaving` are the last rules in them. */
function withoutHostPorts(table: LegacyTable, leaving: readonly NftRule[]): [boolean, Request[]] {
  const chains = HOST_PORT_CHAINS.flatMap((name) => table.find(name) ?? []);
  const isEmpty = ["CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SNAT"].every((name) =>
    table.rulesOf(name).every((rule) => leaving.includes(rule)),
  );
  const isLast = isEmpty && leaving.some(({ chain }) => chain.startsWith("CNI-HOSTPORT-"));
  if (!isLast || !chains.every((chain) => table.isSpare(chain))) return [false, []];
  const entries = chains.flatMap(({ chain }) => table.leadingTo(chain)).filter(({ chain }) => isEntry(chain));
  return [true, [...entries.map(deleteRule), ...chains.map(deleteChain)]];
}

function isEntry(chain: string): boolean {
  return NAT_ENTRIES.some((entry) => entry === chain);
}

/**
 * Removes the rule for the pod's port and the two chains after it. The table is shared with ebtables and is kept while
 * it is in use.
 */
function withoutSpoofCheck(table: LegacyTable, { spoofChains }: LegacySelection): LegacyRemoval {
  const chains = spoofChains.flatMap((name) => table.find(name) ?? []);
  if (chains.length === 0) return NOTHING;
  const entries = table.rulesOf(SPOOF_CHECK_TABLE.entry);
  const leaving = entries.filter((rule) => chains.some((chain) => isSameChain(chain, targetOf(rule))));
  const requests = [...leaving.map(deleteRule), ...chains.map(deleteChain)];
  const hasOthers = table.place.use === undefined || table.place.use > chains.length + 1;
  if (hasOthers || leaving.length < entries.length) return { requests, needsGeneration: false };
  return { requests: [deleteTable(table.place)], needsGeneration: true };
}

function targetOf(rule: NftRule): ChainPlace {
  return { ...rule, chain: verdictOf(rule)?.chain ?? "" };
}
