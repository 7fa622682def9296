/** The table of figures in README.md, from the same figures as the plots. */
import { formatValue } from "./chart.ts";
import type { PlotFigures } from "./figures.ts";

const START = "<!-- npm run bench: plots.ts writes these lines -->\n";
const END = "<!-- end of npm run bench -->\n";
const SIDES = ["floor", "weft", "reference"] as const;

const ROWS = [
  ["start of a process (VERSION)", "start", "VERSION"],
  ["ADD of `bridge` with `host-local`", "bridge", "ADD"],
  ["DEL of `bridge` with `host-local`", "bridge", "DEL"],
  ["ADD of `bridge` with `ipMasq`", "masquerade", "ADD"],
  ["DEL of `bridge` with `ipMasq`", "masquerade", "DEL"],
  ["ADD of the Kubernetes chain", "chain", "ADD"],
  ["DEL of the Kubernetes chain", "chain", "DEL"],
  ["ADDs with 16 at a time", "parallel", "ADD"],
] as const;

/** The README with the figures in place of those between the two comments. Throws if they are missing. */
export function withFigures(readme: string, figures: PlotFigures): string {
  const [start, end] = [readme.indexOf(START), readme.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`README.md lacks ${START.trim()} and ${END.trim()}`);
  return `${readme.slice(0, start + START.length)}${tableOf(figures)}${readme.slice(end)}`;
}

function tableOf({ executables: { cases, resources } }: PlotFigures): string {
  const rows = ROWS.map(([label, name, measure]) => {
    const row = cases.find((report) => report.name === name)?.rows.find((row) => row.name === measure);
    if (row === undefined)
      throw new Error(`the figures lack ${measure} of ${name}: run npm run bench -- plots --case ${name}`);
    return [label, ...SIDES.map((side) => `${formatValue(row.sides[side]?.median ?? Number.NaN)} ${row.unit}`)];
  });
  const others = resources.map(({ name, mib }) => [
    name,
    ...SIDES.map((side) => (mib[side] === undefined ? "" : `${formatValue(mib[side])} MiB`)),
  ]);
  const lines = [["", "C floor", "weft", "reference plugins 1.9.1"], ["---", "---", "---", "---"], ...rows, ...others];
  return lines.map((cells) => `| ${cells.join(" | ")} |\n`.replaceAll("|  |", "| |")).join("");
}
