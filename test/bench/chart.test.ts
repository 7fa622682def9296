import { expect, test } from "vitest";
import { drawChart, formatValue } from "./chart.ts";

const svg = drawChart({
  title: "One call",
  subtitle: "median of 100",
  unit: "ms",
  groups: ["ADD", "VERSION"],
  series: [
    { name: "weft", colour: "weft", values: [5.25, 0.61] },
    { name: "reference", colour: "other", values: [16.51, 2.4] },
  ],
});

test("a chart shows its title, its groups, and each value", () => {
  const shown = [...svg.matchAll(/<text[^>]*>([^<]+)<\/text>/g)].map(([, text]) => text);
  expect(shown).toEqual(
    expect.arrayContaining(["One call", "median of 100", "ADD", "VERSION", "5.3", "0.61", "17", "2.4"]),
  );
  expect(shown).toEqual(expect.arrayContaining(["weft", "reference"]));
});

test("a chart is a complete image that loads no other file", () => {
  expect(svg).toMatch(/^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  expect(svg).not.toMatch(/<script|<image|@import|url\(http/);
});

test.each([
  [0.0612, "0.061"],
  [5.25, "5.3"],
  [83.4, "83"],
])("formats %f as %s", (value, text) => {
  expect(formatValue(value)).toBe(text);
});
