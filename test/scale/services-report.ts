/** What `npm run bench -- scale services` has found. */
import Table from "cli-table3";
import type { Churn, Start } from "./services-bed.ts";

export interface ServiceSize {
  readonly services: number;
  readonly cold: Start;
  readonly restart: Start;
  /** From the arrival of a change to its commit, ascending. */
  readonly flipsMs: readonly number[];
  readonly churn: Churn;
  /** Of weftd's process, at rest and right after the changes. */
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

const FLIP_P99_MS = 10;
/** Of the median, from the fewest Services to the most. */
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
  const growth = medianOf(sizes.at(-1)) / medianOf(sizes[0]);
  return [
    ...sizes.map(({ services, restart }) => ({
      ...{ name: `requests of a restart, ${services} Services`, measured: restart.requests, limit: 0 },
    })),
    ...sizes.map(({ services, flipsMs }) => ({
      ...{ name: `one endpoint, ${services} Services, p99 in ms`, measured: at(flipsMs, 0.99), limit: FLIP_P99_MS },
    })),
    { name: "one endpoint, p50, most / fewest Services", measured: growth, limit: FLIP_GROWTH },
    ...sizes.flatMap(({ services, churn }) => [
      { name: `failed connections beside changes, ${services} Services`, measured: churn.failed, limit: 0 },
      { name: `lost packets beside changes, ${services} Services`, measured: churn.lostPackets, limit: 0 },
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

function at(ascending: readonly number[], part: number): number {
  return ascending[Math.floor(part * (ascending.length - 1))] ?? Number.NaN;
}

function medianOf(size: ServiceSize | undefined): number {
  return at(size?.flipsMs ?? [], 0.5);
}

export function formatServiceScale(report: ServiceScaleReport): string {
  const style = { head: [], border: [] };
  const head = [
    "Services",
    "cold start",
    "restart",
    "one endpoint p50",
    "p99",
    "settled",
    "connections",
    "RSS",
    "after",
    "CPU",
  ];
  const figures = new Table({ head, style, colAligns: head.map(() => "right" as const) });
  const ms = (value: number, digits = 0) => `${value.toFixed(digits)} ms`;
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(0)} MiB`;
  for (const { services, cold, restart, flipsMs, churn, ...use } of report.sizes) {
    figures.push([
      ...[String(services), ms(cold.syncMs), ms(restart.syncMs), ms(at(flipsMs, 0.5), 2), ms(at(flipsMs, 0.99), 2)],
      ...[ms(churn.settledMs), String(churn.connections), mib(use.residentBytes), mib(use.churnedBytes)],
      `${use.cpuSeconds.toFixed(1)} s`,
    ]);
  }
  const bounds = new Table({ head: ["Bound", "measured", "at most", ""], style });
  for (const bound of boundsOf(report)) {
    bounds.push([bound.name, bound.measured.toFixed(2), String(bound.limit), isKept(bound) ? "kept" : "missed"]);
  }
  return `${report.endpoints} endpoints each, ${report.nodes} other Nodes\n${figures}\n${bounds}`;
}
