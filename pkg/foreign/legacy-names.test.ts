import { expect, test } from "vitest";
import { legacyGarbage, legacyOf } from "./legacy-names.ts";

/** The names that the reference plugins 1.9.1 used. */
const ATTACHMENT = { network: "refnet", containerId: "abc123", ifName: "eth0" };
const MASQUERADE = "CNI-8334f7910aacd81549d411b8";
const DNAT = "CNI-DN-8334f7910aacd81549d41";
const COMMENT = "7165e11869391df4-ebce0e3dd4dafae3, net: refnet, if: eth0, id: abc123";

test("computes the reference's chains and comments for an attachment", () => {
  const parts = ["masquerade", "portmap", "spoof-check"] as const;
  const selection = legacyOf(ATTACHMENT, parts);
  expect(selection.natChains).toEqual([MASQUERADE, DNAT, "CNI-SN-8334f7910aacd81549d41"]);
  expect(selection.isNatChain(DNAT, [])).toBe(true);
  expect(selection.isNatChain("CNI-HOSTPORT-DNAT", [])).toBe(false);
  expect(selection.isMasqueradeRule(COMMENT)).toBe(true);
  expect(legacyOf({ ...ATTACHMENT, ifName: "eth1" }, parts).isMasqueradeRule(COMMENT)).toBe(false);
  expect(selection.isHostPortRule("abc123")).toBe(true);
  expect(selection.spoofChains).toEqual(["cni-br-iface-abc123-eth0", "cni-br-iface-abc123-eth0-mac"]);
  expect(legacyOf(ATTACHMENT, ["portmap"])).toMatchObject({ natChains: { length: 2 }, spoofChains: [] });
});

test("recognises garbage: objects of the network without a valid attachment", () => {
  const comments = ['name: "refnet" id: "abc123"'];
  const garbage = (network: string, ...valid: (typeof ATTACHMENT)[]) => legacyGarbage(network, valid, ["masquerade"]);
  expect(garbage("refnet").isNatChain(MASQUERADE, comments)).toBe(true);
  expect(garbage("refnet", ATTACHMENT).isNatChain(MASQUERADE, comments)).toBe(false);
  expect(garbage("ref").isNatChain(MASQUERADE, comments)).toBe(false);
  expect(garbage("refnet").isNatChain(MASQUERADE, [])).toBe(false);
  expect(garbage("refnet").isNatChain(DNAT, [`dnat ${comments[0]}`])).toBe(false);
  expect(legacyGarbage("refnet", [], ["portmap"]).isNatChain(DNAT, [`dnat ${comments[0]}`])).toBe(true);
  expect(garbage("refnet").isMasqueradeRule(COMMENT)).toBe(true);
  expect(garbage("refnet", ATTACHMENT).isMasqueradeRule(COMMENT)).toBe(false);
  expect(garbage("other").isMasqueradeRule(COMMENT)).toBe(false);
  expect(garbage("refnet").isHostPortRule("abc123")).toBe(false);
});
