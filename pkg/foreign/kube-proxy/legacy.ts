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

/** `shown` is what `iptables -t TABLE -S` or `iptables-save -t TABLE` prints. */
export function legacyProxyLeftovers(table: XTable, shown: string): LegacyLeftovers {
  const { chains, rules } = parseSaved(shown);
  const isOurs = (chain: string) => isProxyChain(table, chain);
  const bases = new Set(shown.split("\n").flatMap((line) => /^(?:-P |:)(\S+) (?:ACCEPT|DROP)/.exec(line)?.[1] ?? []));
  const leading = rules.filter(({ chain, target = "" }) => !isOurs(chain) && isOurs(target));
  const kept = new Set(leading.filter(({ chain }) => !bases.has(chain)).flatMap(({ target }) => target ?? []));
  if (kept.has(MARK_CHAIN)) kept.add(MASQUERADE_CHAIN);
  for (const chain of kept)
    for (const rule of rules) if (rule.chain === chain && rule.target !== undefined) kept.add(rule.target);
  const gone = chains.filter((chain) => isOurs(chain) && !kept.has(chain));
  const jumps = leading.filter(({ chain, target = "" }) => bases.has(chain) && !kept.has(target));
  return {
    count: gone.length,
    text: gone.length === 0 ? "" : restoreText(table, jumps, gone),
    kept: chains.filter((chain) => kept.has(chain)),
  };
}
