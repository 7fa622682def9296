import { expect, test } from "vitest";
import { layoutDigest } from "../nft/layout-digest.ts";
import { macSpoofTable } from "./mac-spoof.ts";
import { podMasquerade } from "./pod-masquerade.ts";

test.each([podMasquerade([]), macSpoofTable([])])("the stamp of table $name has the digest of its layout", (table) => {
  expect(table.stamp?.layout).toBe(layoutDigest(table));
});
