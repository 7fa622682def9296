/** Draws a bar chart for a README: SVG, with identical bytes for identical values. */
import { init } from "echarts";

/** weft's own bars, those of a floor, and others. */
export type Colour = "weft" | "floor" | "other";

export interface Series {
  readonly name: string;
  readonly colour: Colour;
  readonly values: readonly number[];
}

export interface Chart {
  readonly title: string;
  /** States what was measured, how often, and on which machine. */
  readonly subtitle: string;
  readonly unit: string;
  readonly groups: readonly string[];
  readonly series: readonly Series[];
}

const SIZE = { width: 760, height: 320 };
/** Distinguishable in grey, too. */
const COLOURS: Readonly<Record<Colour, string>> = { weft: "#2458c5", floor: "#7d8590", other: "#c3c8d0" };
const INK = "#24292f";

export function drawChart({ title, subtitle, unit, groups, series }: Chart): string {
  const chart = init(null, undefined, { renderer: "svg", ssr: true, ...SIZE });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: "#ffffff",
      color: series.map(({ colour }) => COLOURS[colour]),
      textStyle: { fontFamily: "Helvetica, Arial, sans-serif", color: INK },
      title: { text: title, subtext: subtitle, left: 16, top: 10, textStyle: { fontSize: 15, color: INK } },
      legend: { right: 24, top: 56, itemGap: 20, data: series.map(({ name }) => name) },
      grid: { left: 16, right: 24, top: 96, bottom: 14, containLabel: true },
      xAxis: { type: "category", data: [...groups], axisTick: { show: false } },
      yAxis: { type: "value", name: unit, splitLine: { lineStyle: { color: "#e6e8ec" } } },
      series: series.map(({ name, values }) => ({
        ...{ name, type: "bar", barGap: "8%", barMaxWidth: 56, data: [...values] },
        label: {
          show: true,
          fontSize: 11,
          position: "top",
          color: INK,
          formatter: ({ value }: { value: unknown }) => formatValue(Number(value)),
        },
      })),
    });
    return `${chart.renderToSVGString()}\n`;
  } finally {
    chart.dispose();
  }
}

/** Formats a value with two significant digits. */
export function formatValue(value: number): string {
  return value >= 10 ? value.toFixed(0) : value.toPrecision(2);
}
