/** What kube-proxy has left in the tables of legacy iptables, which no netlink reaches. Pure. */
import { parseSaved, restoreText } from "../legacy-xtables.ts";
import { isProxyChain, MARK_CHAIN, MASQUERADE_CHAIN, type XTable } from "./names.ts";

export interface LegacyLeftovers {
  /** How many chains go. */
  readonly count: number;
  /** For `iptables-restore --noflush`; "" where nothing is left. All at once, as iptables-legacy writes a table. */
  readonly text: string;
  /** Chains that stay, since other programs' rules lead to them. */
  readonly kept: readonly string[];
}

/**
 * `shown` is what `iptables -t TABLE -S` or `iptables-save -t TABLE` prints. Of hundred thousands of rules those of kube-proxy's own
 * chains are passed over: they go with their chains.
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
  // What they lead to stays, too.
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
