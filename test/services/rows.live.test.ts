/** The rows of test/vectors/services with real packets: what the kernel does that weft has programmed. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServiceBed } from "./bed/bed.ts";
import { allCases, expectationOf } from "./rows.ts";

let bed: ServiceBed;
beforeAll(async () => {
  bed = await ServiceBed.make();
});
afterAll(() => bed?.close());

/** Family by family, so that the node's settings are mostly the same from one to the next. */
const cases = allCases().sort((a, b) => a.family - b.family);

// Half of the cases are found by a weftd that starts, as the case before left the kernel; the others come as changes.
describe.each(cases.map((each, at) => [each.title, each, at % 2 === 0 ? "compare" : "change"] as const))(
  "%s",
  (_, each, by) => {
    beforeAll(async () => {
      await bed.arrange(each, by);
    });

    // At once: over IPv6 a refused TCP connection fails a second later, at its second SYN.
    test.concurrent.each(each.rows.map((row) => [row.name, row] as const))("%s", async (_, row) => {
      const expected = expectationOf(row);
      expect(await bed.measure(row, expected.expect)).toEqual(expected);
    });
  },
);
