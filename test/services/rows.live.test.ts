/** The rows of test/vectors/services with real packets: the kernel's behaviour with weft's rules. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServiceBed } from "./bed/bed.ts";
import { allCases, expectationOf } from "./rows.ts";

let bed: ServiceBed;
beforeAll(async () => {
  bed = await ServiceBed.make();
});
afterAll(() => bed?.close());

/** Sorted by family, so that the node's settings rarely change between cases. */
const cases = allCases().sort((a, b) => a.family - b.family);

// Half of the cases are programmed by a weftd at its start on the kernel state of the previous case; the others are
// programmed as changes.
describe.each(cases.map((each, at) => [each.title, each, at % 2 === 0 ? "compare" : "change"] as const))(
  "%s",
  (_, each, by) => {
    beforeAll(async () => {
      await bed.arrange(each, by);
    });

    // All at once: over IPv6 a refused TCP connection fails a second later, at its second SYN.
    test.concurrent.each(each.rows.map((row) => [row.name, row] as const))("%s", async (_, row) => {
      const expected = expectationOf(row);
      expect(await bed.measure(row, expected.expect)).toEqual(expected);
    });
  },
);
