/** The kernel keeps the contract of nf_tables that the fake keeps (nftables.test.ts). Needs root, ip and nf_tables. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OWN_PREFIX } from "../live/harness/leftovers.ts";
import { cases } from "./nftables/cases.ts";
import { KernelSide } from "./nftables/kernel-side.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("nftables contract skipped: it makes a network namespace, which needs root\n");

describe.runIf(isRoot)("nf_tables in the kernel", () => {
  let side: KernelSide;
  beforeAll(async () => {
    side = await KernelSide.open(`${OWN_PREFIX}nft`);
  });
  afterAll(() => side.close());
  beforeEach(() => side.empty());

  test.each(Object.entries(cases))("%s", async (_, { run, expected }) => {
    expect(await run(side)).toEqual(expected);
  });
});
