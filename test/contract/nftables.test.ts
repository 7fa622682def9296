/** The fake nf_tables fulfils the same contract as the kernel (nftables.live.test.ts). */
import { describe, expect, test } from "vitest";
import { cases } from "./nftables/cases.ts";
import { fakeSide } from "./nftables/fake-side.ts";

describe("nf_tables in the fake", () => {
  test.each(Object.entries(cases))("%s", async (_, { run, expected }) => {
    expect(await run(fakeSide())).toEqual(expected);
  });
});
