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

  // At once: a refused TCP connection of IPv6 hears of it a second later, when it asks again.
  test.concurrent.each(each.rows.map((row) => [row.name, row] as const))("%s", async (_, row) => {
    const expected = expectationOf(row);
    expect(await bed.measure(row, expected.expect)).toEqual(expected);
  });
});
