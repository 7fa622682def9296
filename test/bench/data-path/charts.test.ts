import { expect, test } from "vitest";
import { dataPathCharts, replaceRows } from "./charts.ts";
import { MEASURES, rowsOf, type Samples, SIDES } from "./report.ts";

const rowsAt = (mode: "vxlan" | "host-gw", value: number) => {
  const values = Object.fromEntries(MEASURES.map((measure) => [measure, [value]]));
  const samples: unknown = Object.fromEntries(SIDES.map((side) => [side, values]));
  return rowsOf(mode, 4, samples as Samples);
};

test("there is a chart for streams and one for requests, with a group for each backend and family", () => {
  const rows = [...rowsAt("vxlan", 2e9), ...rowsAt("host-gw", 3e9)];
  const charts = dataPathCharts({ rounds: 7, rows, where: "2 processors" });
  expect(Object.keys(charts)).toEqual(["data-path-stream", "data-path-latency"]);
  expect(charts["data-path-stream"]).toMatchObject({ unit: "Gbit/s", groups: ["vxlan, IPv4", "host-gw, IPv4"] });
  expect(charts["data-path-stream"]?.series.at(-1)).toEqual({ name: "weft", colour: "weft", values: [2, 3] });
});

test("new results replace those of the same backend and family only", () => {
  const [old, other, now] = [rowsAt("vxlan", 1), rowsAt("host-gw", 1), rowsAt("vxlan", 2)];
  expect(replaceRows([...old, ...other], now)).toEqual([...other, ...now]);
});
