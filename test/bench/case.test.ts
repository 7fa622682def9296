import { expect, test } from "vitest";
import { planBlocks, rotate } from "./case.ts";
import { CASES } from "./cases.ts";

const WITH_DEL = CASES.filter(({ measures }) => measures.some(({ steps }) => steps.some(({ verb }) => verb === "DEL")));

test("rotates a list", () => {
  expect([0, 1, 2, 3].map((by) => rotate(["a", "b", "c"], by).join(""))).toEqual(["abc", "bca", "cab", "abc"]);
});

test.each(CASES)("$name: in each measure, all sides take turns, and each is first equally often", (benchCase) => {
  const { sides, measures, parallel } = benchCase;
  const blocks = planBlocks(benchCase, 2 * sides.length);
  expect(blocks).toHaveLength(2 * sides.length * sides.length * measures.length);
  for (const measure of measures) {
    const order = blocks.filter(([call]) => call?.measure === measure).map(([call]) => call?.side.name);
    const rounds = Array.from({ length: 2 * sides.length }, (_, round) =>
      order.slice(round * sides.length, (round + 1) * sides.length),
    );
    for (const round of rounds) expect(round.toSorted()).toEqual(sides.map(({ name }) => name).toSorted());
    for (const { name } of sides) expect(rounds.filter(([first]) => first === name)).toHaveLength(2);
  }
  for (const block of blocks) expect(block).toHaveLength((block[0]?.measure.steps.length ?? 0) * (parallel?.pods ?? 1));
});

test.each(WITH_DEL)("$name: each ADD is followed by its DEL on the same side before the next ADD", (benchCase) => {
  const attached = new Set<string>();
  for (const { side, step, pod, round } of planBlocks(benchCase, 4).flat()) {
    const key = `${side.name} ${step.plugin} ${pod}`;
    const attachment = `${key} ${round}`;
    if (step.verb === "ADD") {
      expect([...attached].filter((other) => other.startsWith(`${key} `))).toEqual([]);
      attached.add(attachment);
    } else expect(attached.delete(attachment)).toBe(true);
  }
  expect(attached.size).toBe(0);
});

test.each(CASES)("$name: bounds belong to rows and to other sides of the case", ({ bounds, measures, sides }) => {
  const others = sides.slice(0, -1).map(({ name }) => name);
  for (const [row, list] of Object.entries(bounds)) {
    expect(measures.map((measure) => measure.row)).toContain(row);
    for (const { over } of list) expect(others).toContain(over);
  }
});

test.each(CASES.filter(({ parallel }) => parallel !== undefined))(
  "$name: calls that run at the same time do not depend on each other",
  ({ measures }) => {
    for (const { steps } of measures) expect(steps).toHaveLength(1);
  },
);

test.each(CASES)("$name: no two sides have the same subnet", ({ sides, configure }) => {
  const subnets = sides.map(
    (side) => JSON.stringify(configure("host-local", side, "/data")).match(/"subnet":"[^"]+"/)?.[0],
  );
  expect(new Set(subnets).size).toBe(sides.length);
});
