import { expect, test } from "vitest";
import { vxlan } from "../../../pkg/backend/registry.ts";
import type { KnownVtep } from "../../../pkg/backend/vxlan/overlay.ts";
import { LINGER_MS, OldChannels } from "./old-channels.ts";

const vtep = (vni: number, port = 8472, isOurs = true): KnownVtep => ({
  ...{ name: `flannel.${vni}`, mac: "0a:00:00:00:00:01" },
  device: { vni, port, family: 4, isOurs },
});
const had = (...known: readonly KnownVtep[]) => vxlan.channels.of(known);
const [first, second] = [
  { vni: 1, port: 8472 },
  { vni: 2, port: 8472 },
];

test("an unneeded device is kept for a limited time", () => {
  const old = new OldChannels();
  const known = had(vtep(1), vtep(2));
  expect(old.kept(known, [first, second], 0)).toEqual([]);
  expect(old.nextMs(0)).toBeUndefined();
  expect(old.kept(known, [second], 1000)).toEqual([first]);
  expect(old.kept(known, [second], 1000 + LINGER_MS - 1)).toEqual([first]);
  expect(old.nextMs(1000 + LINGER_MS - 1)).toBe(1);
  expect(old.kept(known, [second], 1000 + LINGER_MS)).toEqual([]);
  expect(old.nextMs(1000 + LINGER_MS)).toBeUndefined();
});

test("a device that was needed again gets the full time", () => {
  const old = new OldChannels();
  old.kept(had(vtep(1)), [], 0);
  old.kept(had(vtep(1)), [first], LINGER_MS - 1);
  expect(old.kept(had(vtep(1)), [], LINGER_MS)).toEqual([first]);
});

test("another port is another overlay, and a foreign device is not kept", () => {
  const old = new OldChannels();
  expect(old.kept(had(vtep(1, 4789), vtep(2, 8472, false)), [first], 0)).toEqual([{ vni: 1, port: 4789 }]);
});
