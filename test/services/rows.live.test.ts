/** The rows of test/vectors/services with real packets: what the kernel does that weft has programmed. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServiceBed } from "./bed/bed.ts";
import { allCases, expectationOf } from "./rows.ts";

let bed: ServiceBed;
beforeAll(async () => {
  bed = await ServiceBed.make();
});
afterAll(() => bed?.close());

describe.each(allCases().map((each) => [each.title, each] as const))("%s", (_, each) => {
  beforeAll(async () => {
    await bed.arrange(each);
  });

  test.each(each.rows.map((row) => [row.name, row] as const))("%s", async (_, row) => {
    const expected = expectationOf(row);
    expect(await bed.measure(row, expected.expect)).toEqual(expected);
  });
});
