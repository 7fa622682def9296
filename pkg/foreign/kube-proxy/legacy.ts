/** kube-proxy's leftovers in the tables of legacy iptables, which netlink cannot access. Pure. */
import { parseSaved, restoreText } from "../legacy-xtables.ts";
import { isProxyChain, MARK_CHAIN, MASQUERADE_CHAIN, type XTable } from "./names.ts";

export interface LegacyLeftovers {
  /** The number of chains to remove. */
  readonly count: number;
  /**
   * The input for `iptables-restore --noflush`. "" if nothing is left. Everything is removed at once, because
   * iptables-legacy always writes a complete table.
   */
  readonly text: string;
  /** Chains that are kept because other programs' rules jump to them. */
  readonly kept: readonly string[];
}

/**
 * `shown` is the output of `iptables -t TABLE -S` or `iptables-save -t TABLE`. It may have hundreds of thousands of
 * rules. The rules in kube-proxy's own chains are not parsed: they are removed with their chains.
 */
export function legacyProxyLeftovers(table: XTable, shown: string): LegacyLeftovers {
  const lines = shown.split("\n");
  const isOurs = (chain: string) => isProxyChain(table, chain);
  const rulesOf = (isWanted: (chain: string) => boolean) =>
    parseSaved(lines.filter((line) => isWanted(/^-A (\S+)/.exec(line)?.[1] ?? "")).join("\n")).rules;
  const { chains } = parseSaved(lines.filter((line) => !line.startsWith("-A ")).join("\n"));
  const bases = new Set(lines.flatMap((line) => /^(?:-P |:)(\S+) (?:ACCEPT|DROP)/.exec(line)?.[1] ?? []));
  const leading = rulesOf((chain) => !isOurs(chain)).filter(({ target = "" }) => isOurs(target));
  const kept = new Set(leading.filter(({ chain }) => !bases.has(chain)).flatMap(({ target }) => target ?? []));
  if (kept.has(MARK_CHAIN)) kept.add(MASQUERADE_CHAIN);
  // The chains to which they jump are kept, too.
  for (const chain of kept)
    for (const { target } of rulesOf((one) => one === chain)) if (target !== undefined) kept.add(target);
  const gone = chains.filter((chain) => isOurs(chain) && !kept.has(chain));
  const jumps = leading.filter(({ chain, target = "" }) => bases.has(chain) && !kept.has(target));
  return {
    count: gone.length,
    text: gone.length === 0 ? "" : restoreText(table, jumps, gone),
    kept: chains.filter((chain) => kept.has(chain)),
  };
}
