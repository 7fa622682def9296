/** The kernel's nf_tables fulfils the same contract as the fake (nftables.test.ts). Needs root, ip and nf_tables. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWhere, isKernelFrom } from "../live/harness/kernel.ts";
import { OWN_PREFIX } from "../live/harness/leftovers.ts";
import { cases } from "./nftables/cases.ts";
import { KernelSide } from "./nftables/kernel-side.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("nftables contract skipped: it makes a network namespace, which needs root\n");

// Kernels differ in which of several faults they report, and in when registers count as unset.
describeWhere(isRoot && isKernelFrom(6, 18))("nf_tables in the kernel", () => {
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
