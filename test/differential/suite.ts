/** The tests of all tables: every difference must be listed as intended, and every listed difference must occur. */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cleanup } from "../live/harness/cleanup.ts";
import { OURS, REFERENCE } from "../live/harness/plugin-bed.ts";
import { compareStories, type Difference, describeFinding, isMeant } from "./comparison.ts";
import { DIFFERENCES } from "./differences.ts";
import { Side } from "./side.ts";
import type { Case, Table } from "./table.ts";

/**
 * Number of cases that run at the same time, each with its own sides: the reference waits for seconds if an interface
 * has no carrier.
 */
const AT_ONCE = 4;

const FOLDER = new URL("./cases/", import.meta.url);

async function tables(): Promise<Table[]> {
  const names = readdirSync(FOLDER).sort();
  return Promise.all(names.map(async (name) => (await import(new URL(name, FOLDER).href)).table as Table));
}

/**
 * Makes a test for each case and version that `isWanted` accepts. With `isPartial`, listed differences of other cases
 * need not occur.
 */
export async function compareTables(
  isWanted: (theCase: Case, at: number) => boolean,
  { isPartial = false }: { readonly isPartial?: boolean } = {},
): Promise<void> {
  const cleanup = new Cleanup();
  const free: (readonly [ours: Side, theirs: Side])[] = [];
  const waiting: ((sides: readonly [ours: Side, theirs: Side]) => void)[] = [];
  const take = () => free.pop() ?? new Promise<readonly [ours: Side, theirs: Side]>((resolve) => waiting.push(resolve));
  function giveBack(sides: readonly [ours: Side, theirs: Side]): void {
    const next = waiting.shift();
    if (next === undefined) free.push(sides);
    else next(sides);
  }
  beforeAll(async () => {
    const sides = Array.from({ length: AT_ONCE }, () =>
      Promise.all([Side.make(OURS, "ours", cleanup), Side.make(REFERENCE, "theirs", cleanup)]),
    );
    free.push(...(await Promise.all(sides)));
  });
  afterAll(() => cleanup.run());

  const every = await tables();
  const all = every.map(({ plugin, cases }) => ({ plugin, cases: cases.filter(isWanted) }));
  const elsewhere = every.map(({ plugin, cases }) => ({
    plugin,
    cases: cases.filter((one, at) => !isWanted(one, at)),
  }));
  const seen = new Set<Difference>();
  let [wanted, compared] = [0, 0];
  describe.each(all.filter(({ cases }) => cases.length > 0))("$plugin", ({ plugin, cases }) => {
    const rows = cases.flatMap((theCase) =>
      (theCase.versions ?? (["1.1.0"] as const)).map((version) => ({ name: theCase.name, version, theCase })),
    );
    wanted += rows.length;
    test.concurrent.each(rows)("$name, CNI $version", async ({ theCase, version }) => {
      const sides = await take();
      // Both must end before these sides begin the next case, even if one fails.
      const told = await Promise.allSettled(sides.map((side) => side.tell(plugin, theCase, version)));
      giveBack(sides);
      const stories = told.map((outcome) => {
        if (outcome.status === "rejected") throw outcome.reason;
        return outcome.value;
      });
      const name = `${theCase.name}, CNI ${version}`;
      const unmeant = compareStories(stories[0] ?? {}, stories[1] ?? {}).filter((finding) => {
        const meant = DIFFERENCES.filter((row) => isMeant(row, plugin, name, finding));
        for (const row of meant) seen.add(row);
        return meant.length === 0;
      });
      compared++;
      expect(unmeant.map(describeFinding).join("\n")).toBe("");
    });
  });

  test("every listed difference occurs", ({ skip }) => {
    if (compared < wanted) skip("only some of the cases were compared");
    const concernsAny = (row: Difference, some: readonly Table[]) =>
      some.some(({ cases, plugin }) => concerns(row, plugin, cases));
    const stale = DIFFERENCES.filter(
      (row) => !seen.has(row) && concernsAny(row, all) && !(isPartial && concernsAny(row, elsewhere)),
    );
    expect(stale.map(({ at, reason }) => `${at}: ${reason}`)).toEqual([]);
  });
}

/** True if a row applies to any of these cases. */
function concerns(row: Difference, plugin: string, cases: readonly Case[]): boolean {
  if (cases.length === 0 || (row.plugin !== undefined && ![row.plugin].flat().includes(plugin))) return false;
  const { case: named } = row;
  if (named === undefined) return true;
  return cases.some((theCase) =>
    (theCase.versions ?? ["1.1.0"]).some((version) => {
      const name = `${theCase.name}, CNI ${version}`;
      return typeof named === "string" ? named === name : named.test(name);
    }),
  );
}
