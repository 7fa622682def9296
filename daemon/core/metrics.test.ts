import { expect, test } from "vitest";
import { parseAddress } from "../../pkg/ip/address.ts";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import { addAddress } from "../../pkg/kernel/address.ts";
import { changeLink, createBridge, deleteLink } from "../../pkg/kernel/link.ts";
import { deleteForwarding, replaceForwarding, replaceNeighbour } from "../../pkg/kernel/neighbour.ts";
import { attachmentObject } from "../../pkg/kernel/owner.ts";
import { addRoute, replaceRoute } from "../../pkg/kernel/route.ts";
import { settingObject } from "../../pkg/kernel/sysctl.ts";
import type { ObjectIdentity } from "../../pkg/netlink/message.ts";
import { NFPROTO } from "../../pkg/netlink/nftables.ts";
import { chainObject, ruleObject, tableObject } from "../../pkg/nft/object.ts";
import { deleteChain } from "../../pkg/nft/ruleset.ts";
import { REPAIR_KINDS, repairKind } from "./metrics.ts";

const mac = "0a:00:00:00:00:01";
const route = { destination: parsePrefix("fd00::/64"), outputIndex: 2 };
const entry = { index: 2, mac, destination: parseAddress("192.0.2.2") };

test.each<[string, ObjectIdentity, string]>([
  ["a new route", addRoute(route).object, "route"],
  ["a default route", replaceRoute({ destination: parsePrefix("::/0") }).object, "route"],
  ["a neighbour", replaceNeighbour({ index: 2, mac, address: parseAddress("fd00::") }).object, "neighbour"],
  ["a forwarding entry", replaceForwarding(entry).object, "forwarding"],
  ["a forwarding entry that goes", deleteForwarding(entry).object, "forwarding"],
  ["a link that goes", deleteLink(2).object, "link"],
  ["a link that is changed", changeLink(2, { up: true }).object, "link"],
  ["a bridge", createBridge({ name: "cni0", mac }).object, "link"],
  ["an address", addAddress({ index: 2, prefix: parsePrefix("10.0.0.1/24") }).object, "address"],
  ["weft's table", tableObject("inet weft"), "table"],
  ["a rule", ruleObject("ip filter", "FORWARD", { expressions: [], comment: undefined }), "rule"],
  ["a chain", chainObject("ip filter", "CNI-FORWARD"), "rule"],
  ["a chain that goes", deleteChain({ family: NFPROTO.ip, table: "filter", chain: "CNI-FORWARD" }).object, "rule"],
  ["a setting", settingObject(["net", "ipv4", "ip_forward"]), "setting"],
  ["an attachment", attachmentObject("cni:net/c1/eth0"), "attachment"],
])("the repair of %s has the kind of its object", (_what, { kind }, label) => {
  expect(repairKind(kind)).toBe(label);
  expect(REPAIR_KINDS).toContain(label);
});

test("objects without a kind of their own are counted as other", () => {
  expect(repairKind("process")).toBe("other");
});
