import { expect, test } from "vitest";
import { planCalls } from "./case.ts";
import { CASES } from "./cases.ts";

const BOTH = CASES.filter(({ measures }) => measures.some(({ steps }) => steps.some(({ verb }) => verb === "DEL")));

test("each side is first equally often", () => {
  for (const benchCase of CASES) {
    const calls = planCalls(benchCase, 3 * benchCase.sides.length);
    const first = benchCase.measures[0];
    const firsts = calls.filter(
      (call, at) => call.measure === first && (at === 0 || calls[at - 1]?.round !== call.round),
    );
    for (const side of benchCase.sides) expect(firsts.filter((call) => call.side === side)).toHaveLength(3);
  }
});

test.each(BOTH)(
  "$name: each ADD of a plugin is followed by its DEL on the same side before the next ADD",
  (benchCase) => {
    const attached = new Set<string>();
    for (const { side, step } of planCalls(benchCase, 4)) {
      const key = `${side.name} ${step.plugin}`;
      expect(attached.has(key)).toBe(step.verb === "DEL");
      if (step.verb === "ADD") attached.add(key);
      else attached.delete(key);
    }
    expect(attached.size).toBe(0);
  },
);
