/**
 * The Go plugins' state in the tables of legacy iptables, which netlink cannot access: parses the output of
 * `iptables-save`, and builds the input of `iptables-restore --noflush` that removes it, or that adds the reference
 * firewall plugin's rules.
 */
import { ADMIN_COMMENT, ISOLATION_CHAINS, PRIVATE_CHAIN, PRIVATE_COMMENT } from "../footprint.ts";
import { type Address, formatAddress } from "../ip/address.ts";
import { HOST_PORT_CHAINS, type LegacySelection, NAT_ENTRIES } from "./legacy-names.ts";

export interface SavedRule {
  readonly chain: string;
  /** The text after `-A`. */
  readonly text: string;
  readonly target: string | undefined;
  readonly comment: string | undefined;
}

export interface Saved {
  readonly chains: readonly string[];
  readonly rules: readonly SavedRule[];
}

/** Parses the output of `iptables-save -t TABLE` or `iptables -t TABLE -S`. */
export function parseSaved(text: string): Saved {
  const lines = text.split("\n");
  return {
    chains: lines.flatMap((line) => /^(?::|-N )(\S+)/.exec(line)?.[1] ?? []),
    rules: lines
      .filter((line) => line.startsWith("-A "))
      .map((line) => {
        const rule = line.slice("-A ".length);
        return {
          chain: rule.replace(/ .*/s, ""),
          text: rule,
          target: / -[jg] (\S+)/.exec(rule)?.[1],
          comment: / --comment (?:"((?:[^"\\]|\\.)*)"|(\S+))/
            .exec(rule)
            ?.slice(1)
            .find((part) => part !== undefined)
            ?.replace(/\\(.)/g, "$1"),
        };
      }),
  };
}

/** Returns the input for the nat table. "" if there is nothing to remove. */
export function xtablesNatRemoval(saved: string, selection: LegacySelection): string {
  const { chains, rules } = parseSaved(saved);
  const leadingTo = (chain: string) => rules.filter(({ target }) => target === chain);
  const gone = chains.filter((chain) =>
    selection.isNatChain(
      chain,
      leadingTo(chain).flatMap(({ comment }) => comment ?? []),
    ),
  );
  if (gone.length === 0) return "";
  const jumps = gone.flatMap(leadingTo);
  const left = rules.filter((rule) => !jumps.includes(rule) && !gone.includes(rule.chain));
  const shared = chains.filter((chain) => HOST_PORT_CHAINS.some((name) => name === chain));
  const isUsed =
    !jumps.some(({ chain }) => shared.includes(chain)) ||
    left.some(({ chain }) => chain === "CNI-HOSTPORT-DNAT" || chain === "CNI-HOSTPORT-SNAT") ||
    left.some(({ chain, target }) => shared.includes(target ?? "") && !NAT_ENTRIES.some((entry) => entry === chain));
  const entries = isUsed ? [] : left.filter(({ target }) => shared.includes(target ?? ""));
  return restoreText("nat", [...jumps, ...entries], [...gone, ...(isUsed ? [] : shared)]);
}

/** True if one of the selection's chains has rules and is reachable. */
export function isInXtablesNat(saved: string, { natChains = [] }: LegacySelection): boolean {
  const { rules } = parseSaved(saved);
  const isReached = (chain: string): boolean =>
    NAT_ENTRIES.some((entry) => entry === chain) ||
    rules.some((rule) => rule.target === chain && isReached(rule.chain));
  return natChains.some((name) => rules.some(({ chain }) => chain === name) && isReached(name));
}

const FORWARD_TO_PRIVATE = `FORWARD -m comment --comment "${PRIVATE_COMMENT}" -j ${PRIVATE_CHAIN}`;
const privateToAdmin = (adminChain: string) =>
  `${PRIVATE_CHAIN} -m comment --comment "${ADMIN_COMMENT}" -j ${adminChain}`;

/** Returns the reference firewall plugin's rules for an address in CNI-FORWARD, as `iptables-save` prints them. */
function acceptingRules(address: Address): string[] {
  const host = `${formatAddress(address)}/${address.family === 4 ? 32 : 128}`;
  return [
    `${PRIVATE_CHAIN} -d ${host} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `${PRIVATE_CHAIN} -s ${host} -j ACCEPT`,
  ];
}

/**
 * Returns the missing chains of the reference plugin and its missing rules for these addresses. "" if nothing is
 * missing.
 */
export function xtablesFirewallAddition(saved: string, addresses: readonly Address[], adminChain: string): string {
  const { chains, rules } = parseSaved(saved);
  const lacks = (rule: string) => !rules.some(({ text }) => text === rule);
  // -N fails if another call has created the chain meanwhile. Declared as ":CHAIN", the chain would be emptied.
  const lines = [
    ...[PRIVATE_CHAIN, adminChain].filter((chain) => !chains.includes(chain)).map((chain) => `-N ${chain}`),
    ...[FORWARD_TO_PRIVATE, privateToAdmin(adminChain)].filter(lacks).map((rule) => `-I ${inserted(rule)}`),
    ...addresses
      .flatMap(acceptingRules)
      .filter(lacks)
      .map((rule) => `-A ${rule}`),
  ];
  return lines.length === 0 ? "" : `*filter\n${lines.join("\n")}\nCOMMIT\n`;
}

/** Converts "CHAIN REST" to "CHAIN 1 REST". */
function inserted(rule: string): string {
  return rule.replace(" ", " 1 ");
}

/** True if FORWARD drops packets that match no rule, and rules for one of these addresses are missing. */
export function lacksXtablesAccepts(saved: string, addresses: readonly Address[]): boolean {
  const { rules } = parseSaved(saved);
  const isClosed = /^:FORWARD DROP/m.test(saved);
  const wanted = addresses.flatMap(acceptingRules);
  return isClosed && !wanted.every((rule) => rules.some(({ text }) => text === rule));
}

/** True if the reference plugin's rules for all of these addresses exist. */
export function holdsXtablesAccepts(saved: string, addresses: readonly Address[]): boolean {
  const { rules } = parseSaved(saved);
  return addresses.flatMap(acceptingRules).every((rule) => rules.some(({ text }) => text === rule));
}

/** Returns the bridges that the reference plugin isolates from each other. */
export function xtablesIsolatedBridges(saved: string): string[] {
  return parseSaved(saved)
    .rules.filter(({ chain, target }) => chain === ISOLATION_CHAINS[0] && target === ISOLATION_CHAINS[1])
    .flatMap(({ text }) => / -i (\S+)/.exec(text)?.[1] ?? []);
}

/**
 * Returns the input that removes the reference plugin's rules for these addresses from the filter table. "" if there
 * are none.
 */
export function xtablesFirewallRemoval(saved: string, addresses: readonly Address[], adminChain: string): string {
  const table = parseSaved(saved);
  const theirs = new Set(addresses.flatMap(acceptingRules));
  const gone = table.rules.filter(({ text }) => theirs.has(text));
  return gone.length === 0 ? "" : (structureRemoval(table, gone, adminChain) ?? removalText("filter", gone, []));
}

/**
 * Returns the input that removes the reference plugin's chains from the filter table. "" while they have rules for
 * addresses.
 */
export function xtablesStructureRemoval(saved: string, adminChain: string): string {
  return structureRemoval(parseSaved(saved), [], adminChain) ?? "";
}

/**
 * Returns the removal of the chains with all their rules. Undefined while they have rules other than `gone`, or are
 * used elsewhere.
 */
function structureRemoval(
  { chains, rules }: Saved,
  gone: readonly SavedRule[],
  adminChain: string,
): string | undefined {
  const own = rules.filter(({ chain }) => chain === PRIVATE_CHAIN);
  if (!chains.includes(PRIVATE_CHAIN)) return undefined;
  if (own.some((rule) => !gone.includes(rule) && rule.target !== adminChain)) return undefined;
  const made = [PRIVATE_CHAIN, ...ISOLATION_CHAINS].filter((chain) => chains.includes(chain));
  const entries = rules.filter(({ chain, target }) => made.includes(target ?? "") && !made.includes(chain));
  const isAdminSpare =
    chains.includes(adminChain) &&
    !rules.some(({ chain, target }) => chain === adminChain || (target === adminChain && chain !== PRIVATE_CHAIN));
  // The reference jumps there only from FORWARD. A chain to which another chain jumps is kept.
  if (entries.some(({ chain }) => chain !== "FORWARD")) return undefined;
  // Removes single rules instead of using -F: a chain to which another call has added a rule meanwhile is then refused
  // and kept.
  const inside = rules.filter(({ chain }) => made.includes(chain));
  return removalText("filter", [...entries, ...inside], [...made, ...(isAdminSpare ? [adminChain] : [])]);
}

function removalText(table: string, rules: readonly SavedRule[], chains: readonly string[]): string {
  const lines = [...rules.map(({ text }) => `-D ${text}`), ...chains.map((chain) => `-X ${chain}`)];
  return `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
}

/** Removes rules first. Then empties all chains before removing any, because they refer to each other. */
export function restoreText(table: string, rules: readonly SavedRule[], chains: readonly string[]): string {
  const lines = [
    ...rules.map(({ text }) => `-D ${text}`),
    ...chains.map((chain) => `-F ${chain}`),
    ...chains.map((chain) => `-X ${chain}`),
  ];
  return `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
}
