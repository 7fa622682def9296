import { expect, test } from "vitest";
import { layoutDigest } from "../nft/layout-digest.ts";
import { firewallTable } from "./firewall.ts";
import { macSpoofTable } from "./mac-spoof.ts";
import { podMasquerade } from "./pod-masquerade.ts";

test.each([podMasquerade([]), macSpoofTable([]), firewallTable({ pods: [], policies: new Map() })])(
  "the stamp of table $name has the digest of its layout",
  (table) => {
    expect(table.stamp?.layout).toBe(layoutDigest(table));
  },
);
