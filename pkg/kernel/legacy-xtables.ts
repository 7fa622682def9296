/**
 * The Go plugins' state in the tables of legacy iptables, which no netlink reaches: what `iptables-save` shows of it, and
 * what `iptables-restore --noflush` is told to take it away.
 */
import { type Address, formatAddress } from "../ip/address.ts";
import { HOST_PORT_CHAINS, type LegacySelection, NAT_ENTRIES } from "./legacy-names.ts";

interface SavedRule {
  readonly chain: string;
  /** As it stands behind `-A`. */
  readonly text: string;
  readonly target: string | undefined;
  readonly comment: string | undefined;
}

interface Saved {
  readonly chains: readonly string[];
  readonly rules: readonly SavedRule[];
}

/** What `iptables-save -t TABLE` prints. */
function parseSaved(text: string): Saved {
  const lines = text.split("\n");
  return {
    chains: lines.flatMap((line) => /^:(\S+)/.exec(line)?.[1] ?? []),
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

/** Of the nat table; "" where nothing is there. */
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

/** True when one of the selection's chains holds rules, and packets come there. */
export function isInXtablesNat(saved: string, { natChains = [] }: LegacySelection): boolean {
  const { rules } = parseSaved(saved);
  const isReached = (chain: string): boolean =>
    NAT_ENTRIES.some((entry) => entry === chain) ||
    rules.some((rule) => rule.target === chain && isReached(rule.chain));
  return natChains.some((name) => rules.some(({ chain }) => chain === name) && isReached(name));
}

/** The reference plugin's rules for these addresses, in the filter table; "" where nothing is there. */
export function xtablesFirewallRemoval(saved: string, addresses: readonly Address[], adminChain: string): string {
  const { chains, rules } = parseSaved(saved);
  const own = rules.filter(({ chain }) => chain === "CNI-FORWARD");
  const theirs = new Set(
    addresses.flatMap((address) => {
      const host = `${formatAddress(address)}/${address.family === 4 ? 32 : 128}`;
      return [
        `CNI-FORWARD -d ${host} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
        `CNI-FORWARD -s ${host} -j ACCEPT`,
      ];
    }),
  );
  const gone = own.filter(({ text }) => theirs.has(text));
  if (gone.length === 0) return "";
  const hasOthers = own.some((rule) => !gone.includes(rule) && rule.target !== adminChain);
  if (hasOthers) return restoreText("filter", gone, []);
  const made = ["CNI-FORWARD", "CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"].filter((chain) =>
    chains.includes(chain),
  );
  const entries = rules.filter(({ chain, target }) => made.includes(target ?? "") && !made.includes(chain));
  const isAdminSpare =
    chains.includes(adminChain) &&
    !rules.some(({ chain, target }) => chain === adminChain || (target === adminChain && chain !== "CNI-FORWARD"));
  // The reference leads there from FORWARD alone: what anybody else leads to stays.
  if (entries.some(({ chain }) => chain !== "FORWARD")) return restoreText("filter", gone, []);
  return restoreText("filter", entries, [...made, ...(isAdminSpare ? [adminChain] : [])]);
}

/** Rules first, then the chains, emptied all before any is removed: they lead to each other. */
function restoreText(table: string, rules: readonly SavedRule[], chains: readonly string[]): string {
  const lines = [
    ...rules.map(({ text }) => `-D ${text}`),
    ...chains.map((chain) => `-F ${chain}`),
    ...chains.map((chain) => `-X ${chain}`),
  ];
  return `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
}
