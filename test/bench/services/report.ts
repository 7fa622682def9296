/** The results of `npm run bench -- services`, and whether the bounds hold. */
import Table from "cli-table3";
import { median, quantile } from "../statistics.ts";

export interface Loaded {
  readonly services: number;
  readonly ms: number;
}

export interface FlipReport {
  readonly services: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface ServicesReport {
  readonly services: number;
  readonly endpoints: number;
  readonly coldMs: number;
  /** `nft -f` of the output of `nft list table` for the same Services. */
  readonly ownTextMs: number;
  readonly restart: { readonly ms: number; readonly transactions: number };
  readonly flips: readonly FlipReport[];
  /** The longest transaction of the cold starts, which have the largest ones. */
  readonly longestTransactionMs: number;
  /** kube-proxy's rulesets that loaded within the limit, by size. */
  readonly kubeProxy: readonly Loaded[];
  readonly firstPacket: {
    readonly services: number;
    readonly firstUs: number;
    readonly lastUs: number;
    /** The last Service of kube-proxy's largest ruleset. */
    readonly kubeProxyServices: number;
    readonly kubeProxyUs: number;
  };
}

export interface Bound {
  readonly name: string;
  readonly measured: number;
  readonly limit: number;
  /** Undefined if there is no value to compare with: kube-proxy's ruleset did not load in time. */
  readonly isKept: boolean | undefined;
}

export function flipReport(services: number, ms: readonly number[]): FlipReport {
  return { services, p50Ms: median(ms), p99Ms: quantile(ms, 0.99) };
}

/** Ratios and milliseconds, with their limits. */
export function boundsOf(report: ServicesReport): Bound[] {
  const { coldMs, ownTextMs, restart, flips, longestTransactionMs, kubeProxy, firstPacket } = report;
  const same = kubeProxy.find(({ services }) => services === report.services);
  const [small, large] = [flips[0], flips.at(-1)];
  const bound = (name: string, measured: number, limit: number): Bound => ({
    ...{ name, measured, limit },
    isKept: Number.isNaN(measured) ? undefined : measured <= limit,
  });
  return [
    bound("cold start / nft -f of weft's own layout", coldMs / ownTextMs, 1.5),
    bound("cold start / nft -f of kube-proxy's ruleset", coldMs / (same?.ms ?? Number.NaN), 0.2),
    bound("transactions of a restart", restart.transactions, 0),
    ...flips.map(({ services, p99Ms }) => bound(`change of one endpoint, ${services} Services, p99 in ms`, p99Ms, 10)),
    bound(
      "change of one endpoint, p99, most / fewest Services",
      (large?.p99Ms ?? Number.NaN) / (small?.p99Ms ?? Number.NaN),
      1.2,
    ),
    bound("longest transaction in ms", longestTransactionMs, 50),
    bound("first packet p50, last / first Service", firstPacket.lastUs / firstPacket.firstUs, 1.05),
    bound("first packet p50, last Service / kube-proxy's", firstPacket.lastUs / firstPacket.kubeProxyUs, 1),
  ];
}

export function formatServices(report: ServicesReport): string {
  const { services, endpoints, restart, flips, kubeProxy, firstPacket } = report;
  const ms = (value: number, digits = 0) => `${value.toFixed(digits)} ms`;
  const facts: [string, string][] = [
    [`cold start, ${services} Services x ${endpoints}`, ms(report.coldMs)],
    ["nft -f of the same elements", ms(report.ownTextMs)],
    ...kubeProxy.map((one): [string, string] => [`nft -f of kube-proxy's, ${one.services} Services`, ms(one.ms)]),
    ["restart", `${ms(restart.ms)}, ${restart.transactions} transactions`],
    ...flips.map((one): [string, string] => [
      `one endpoint, ${one.services} Services`,
      `p50 ${ms(one.p50Ms, 3)}, p99 ${ms(one.p99Ms, 3)}`,
    ]),
    ["longest transaction", ms(report.longestTransactionMs, 1)],
    [`first packet, first of ${firstPacket.services} Services`, `${firstPacket.firstUs.toFixed(1)} us`],
    ["first packet, last Service", `${firstPacket.lastUs.toFixed(1)} us`],
    [`first packet, kube-proxy's last of ${firstPacket.kubeProxyServices}`, `${firstPacket.kubeProxyUs.toFixed(1)} us`],
  ];
  const style = { head: [], border: [] };
  const figures = new Table({ style, colAligns: ["left", "right"] });
  figures.push(...facts);
  const bounds = new Table({
    style,
    head: ["Bound", "measured", "at most", ""],
    colAligns: ["left", "right", "right"],
  });
  for (const { name, measured, limit, isKept } of boundsOf(report)) {
    const verdict = isKept === undefined ? "not measured" : isKept ? "kept" : "exceeded";
    bounds.push([name, Number.isNaN(measured) ? "-" : measured.toFixed(3), String(limit), verdict]);
  }
  return `${figures}\n${bounds}`;
}
