/** The results of `npm run bench -- scale services`. */
import Table from "cli-table3";
import { type Churn, FLIP_LIMIT_SECONDS, type Flips, type Start } from "./services-bed.ts";

export interface ServiceSize {
  readonly services: number;
  readonly cold: Start;
  readonly restart: Start;
  readonly flips: Flips;
  readonly churn: Churn;
  /** Resident memory of weftd's process, idle and right after the changes. */
  readonly residentBytes: number;
  readonly churnedBytes: number;
  readonly cpuSeconds: number;
}

export interface ServiceScaleReport {
  readonly endpoints: number;
  readonly nodes: number;
  /** Ascending. */
  readonly sizes: readonly ServiceSize[];
}

/** The largest allowed share (0 to 1) of changes of one endpoint that take longer than FLIP_LIMIT_SECONDS. */
const FLIPS_LATE = 0.01;
/** The largest allowed growth of the mean, from the fewest Services to the most. */
const FLIP_GROWTH = 1.2;
/** With 10,000 Services and 1,000 Nodes. */
const RESIDENT_MIB = 200;
const MEMORY_SERVICES = 10_000;
const MIB = 2 ** 20;

interface Bound {
  readonly name: string;
  readonly measured: number;
  readonly limit: number;
}

function boundsOf({ sizes }: ServiceScaleReport): Bound[] {
  const growth = meanOf(sizes.at(-1)) / meanOf(sizes[0]);
  return [
    ...sizes.map(({ services, restart }) => ({
      ...{ name: `requests of a restart, ${services} Services`, measured: restart.requests, limit: 0 },
    })),
    ...sizes.map(({ services, flips }) => ({
      name: `one endpoint, ${services} Services: share above ${1000 * FLIP_LIMIT_SECONDS} ms`,
      measured: 1 - flips.shareInTime,
      limit: FLIPS_LATE,
    })),
    { name: "one endpoint, mean, most / fewest Services", measured: growth, limit: FLIP_GROWTH },
    ...sizes.flatMap(({ services, churn }) => [
      { name: `failed connections during changes, ${services} Services`, measured: churn.failed, limit: 0 },
      { name: `lost packets during changes, ${services} Services`, measured: churn.lostPackets, limit: 0 },
    ]),
    ...sizes
      .filter(({ services }) => services === MEMORY_SERVICES)
      .map(({ residentBytes }) => ({
        ...{ name: "resident MiB, 10000 Services", measured: residentBytes / MIB, limit: RESIDENT_MIB },
      })),
  ];
}

const isKept = ({ measured, limit }: Bound) => measured <= limit;

export function isServiceScaleKept(report: ServiceScaleReport): boolean {
  return boundsOf(report).every(isKept);
}

function meanOf(size: ServiceSize | undefined): number {
  return size?.flips.meanMs ?? Number.NaN;
}

export function formatServiceScale(report: ServiceScaleReport): string {
  const style = { head: [], border: [] };
  const head = [
    "Services",
    "cold start",
    "restart",
    "one endpoint, mean",
    "within 10 ms",
    "settled",
    "connections",
    "RSS",
    "after",
    "CPU",
  ];
  const figures = new Table({ head, style, colAligns: head.map(() => "right" as const) });
  const ms = (value: number, digits = 0) => `${value.toFixed(digits)} ms`;
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(0)} MiB`;
  for (const { services, cold, restart, flips, churn, ...use } of report.sizes) {
    figures.push([
      ...[
        String(services),
        ms(cold.syncMs),
        ms(restart.syncMs),
        ms(flips.meanMs, 2),
        `${(100 * flips.shareInTime).toFixed(1)} %`,
      ],
      ...[ms(churn.settledMs), String(churn.connections), mib(use.residentBytes), mib(use.churnedBytes)],
      `${use.cpuSeconds.toFixed(1)} s`,
    ]);
  }
  const bounds = new Table({ head: ["Bound", "measured", "at most", ""], style });
  for (const bound of boundsOf(report)) {
    bounds.push([bound.name, bound.measured.toFixed(2), String(bound.limit), isKept(bound) ? "kept" : "exceeded"]);
  }
  return `${report.endpoints} endpoints each, ${report.nodes} other Nodes\n${figures}\n${bounds}`;
}
