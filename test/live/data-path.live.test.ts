/** The benchmark of the data path: all its sides carry the traffic that it measures, in both families. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { DataPathBed } from "../bench/data-path/bed.ts";
import { MEASURES, SIDES } from "../bench/data-path/report.ts";

let bed: DataPathBed | undefined;

beforeAll(async () => {
  bed = await DataPathBed.make("vxlan");
}, 120_000);

afterAll(() => bed?.close());

test("every side carries streams, requests and connections", { timeout: 60_000 }, async () => {
  for (const side of SIDES)
    for (const family of [4, 6] as const) {
      const measured = {};
      for (const kind of DataPathBed.kinds) Object.assign(measured, await bed?.measure(side, family, kind, 20));
      expect(Object.keys(measured), side).toEqual(MEASURES);
      for (const [measure, value] of Object.entries(measured)) expect(value, `${side}: ${measure}`).toBeGreaterThan(0);
    }
});
