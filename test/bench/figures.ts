/** The figures of the plots (docs/plots/figures.json), and the charts that show them. */
import type { ScaleReport } from "../scale/report.ts";
import type { Chart, Colour, Series } from "./chart.ts";
import type { CaseReport, Row, Unit } from "./report.ts";
import { type Resource, resourcesOf } from "./resources.ts";

/** The output of `npm run bench -- -o json`. */
export interface BenchReport {
  /** The machine, in a few words. */
  readonly machine: string;
  readonly cases: readonly CaseReport[];
  readonly resources: readonly Resource[];
}

export interface PlotFigures {
  /** The machine, in a few words. */
  readonly where: string;
  readonly executables: BenchReport;
  readonly scale: ScaleReport;
}

/** The group of a chart: a row of a case. */
interface Bar {
  readonly label: string;
  readonly case: string;
  readonly row: string;
}

const SOURCE = "reference: plugins 1.9.1";

/** The report with the cases of `newer` in place of the same cases of `older`. */
export function replaceCases(older: BenchReport | undefined, newer: BenchReport): BenchReport {
  const kept = (older?.cases ?? []).filter(({ name }) => newer.cases.every((report) => report.name !== name));
  const cases = [...kept, ...newer.cases];
  return { machine: newer.machine, cases, resources: resourcesOf(newer.resources[0]?.mib ?? {}, cases) };
}

/** The charts by file name, without suffix. */
export function chartsOf({ where, executables, scale }: PlotFigures): Readonly<Record<string, Chart>> {
  const { cases } = executables;
  // Without Nodes nothing is programmed.
  const sizes = scale.sizes.filter(({ nodes }) => nodes > 0);
  const attach = (row: string): Bar[] => [
    { label: "bridge", case: "bridge", row },
    { label: "bridge with ipMasq", case: "masquerade", row },
    { label: "Kubernetes chain", case: "chain", row },
  ];
  const inUse = (count: number): Bar => {
    return { label: count.toLocaleString("en"), case: `addresses-${count}`, row: "ADD" };
  };
  const subtitle = (about: string) => `${about}; ${SOURCE}; ${where}`;
  return {
    start: barsOf(cases, "Start of a process", subtitle("VERSION and STATUS of bridge, medians"), [
      { label: "VERSION", case: "start", row: "VERSION" },
      { label: "STATUS", case: "start", row: "STATUS" },
    ]),
    add: barsOf(cases, "ADD", subtitle("medians; the reference's ipMasq and portmap use iptables"), attach("ADD")),
    del: barsOf(cases, "DEL", subtitle("medians; the reference's ipMasq and portmap use iptables"), attach("DEL")),
    plugins: barsOf(cases, "ADD of one plugin", subtitle("medians; the reference's portmap uses iptables"), [
      { label: "loopback", case: "chain", row: "ADD loopback" },
      { label: "bridge", case: "bridge", row: "ADD" },
      { label: "ptp", case: "ptp", row: "ADD" },
      { label: "portmap", case: "portmap", row: "ADD" },
      { label: "bandwidth", case: "bandwidth", row: "ADD" },
    ]),
    parallel: barsOf(cases, "200 pods, 16 at a time", subtitle("bridge with host-local, calls per second"), [
      { label: "ADD", case: "parallel", row: "ADD" },
      { label: "DEL", case: "parallel", row: "DEL" },
    ]),
    reservations: barsOf(
      cases,
      "ADD of host-local by number of addresses in use",
      subtitle("medians"),
      [0, 1000, 4000].map(inUse),
    ),
    "full-node": barsOf(
      cases,
      "weft's ADD on a full node",
      `60,000 addresses, 1,000 host ports, 5,000 chains of another program; ${where}`,
      ["", " loopback", " bridge", " portmap", " bandwidth"].map((plugin) => {
        return { label: plugin.trim() || "Kubernetes chain", case: "full-node", row: `ADD${plugin}` };
      }),
    ),
    scale: {
      title: "Time to program all peers from an empty kernel (VXLAN)",
      subtitle: `compare and program, best of ${scale.rounds}; compared with ip -batch and bridge -batch; ${where}`,
      unit: "ms",
      groups: sizes.map(({ nodes }) => `${nodes.toLocaleString("en")} nodes`),
      series: [
        { name: "ip -batch, bridge -batch", colour: "other", values: sizes.map(({ batchMs }) => batchMs) },
        { name: "weftd", colour: "weft", values: sizes.map(({ sentMs }) => sentMs) },
      ],
    },
  };
}

function barsOf(cases: readonly CaseReport[], title: string, subtitle: string, bars: readonly Bar[]): Chart {
  const found = bars.map((bar) => ({ ...bar, ...rowOf(cases, bar) }));
  const sides = found[0]?.report.sides ?? [];
  const unit: Unit = found[0]?.measured.unit ?? "ms";
  const series = sides.map(({ name }, at): Series => {
    const colour = at === sides.length - 1 ? "weft" : colourOf(name);
    return { name, colour, values: found.map(({ measured }) => measured.sides[name]?.median ?? Number.NaN) };
  });
  return { title, subtitle, unit, groups: found.map(({ label }) => label), series };
}

function colourOf(side: string): Colour {
  return side === "floor" ? "floor" : "other";
}

/** Throws if the figures lack the row. */
function rowOf(cases: readonly CaseReport[], { case: name, row }: Bar): { report: CaseReport; measured: Row } {
  const report = cases.find((report) => report.name === name);
  const measured = report?.rows.find((measured) => measured.name === row);
  if (report === undefined || measured === undefined)
    throw new Error(`the figures lack ${row} of ${name}: run npm run bench -- plots --case ${name}`);
  return { report, measured };
}
