/** The tests of all truth tables on one bed. */
import { afterAll, beforeAll, describe, test } from "vitest";
import { Cleanup } from "../live/harness/cleanup.ts";
import { type BedOptions, PolicyBed } from "./bed.ts";
import type { Case } from "./case.ts";
import { CASES } from "./cases/all.ts";

/** `hack/test policy` runs all cases; `npm test` runs a fixed sample. */
const isWhole = process.env.WEFT_TEST_ALL === "1";

/** Makes a test for each case. Without WEFT_TEST_ALL=1, only for those that `isSampled` accepts. */
export function truthTables(options: BedOptions, isSampled: (one: Case, at: number) => boolean): void {
  const cleanup = new Cleanup();
  let bed: PolicyBed;

  beforeAll(async () => {
    bed = await PolicyBed.start(cleanup, { ...options, environment: { WEFTD_NETWORK_POLICY: "enforce" } });
  });

  afterAll(async () => {
    if (bed !== undefined) {
      const { tables, probes, repeatedTables, repeatedPackets } = bed.totals;
      console.log(
        `${tables} tables with ${probes} probes. ${repeatedTables} tables were repeated until a change took effect, ` +
          `${repeatedPackets} packets until a reply arrived`,
      );
    }
    await cleanup.run();
  });

  const wanted = CASES.filter((one, at) => isWhole || isSampled(one, at));
  describe.each([...new Set(wanted.map(({ group }) => group))])("%s", (group) => {
    test.each(wanted.filter((one) => one.group === group))("$name", (one) => bed.play(one));
  });
}
