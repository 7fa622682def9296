import { expect, test } from "vitest";
import { parseAddress } from "../../pkg/ip/address.ts";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import { addAddress } from "../../pkg/kernel/address.ts";
import { changeLink, createBridge, deleteLink } from "../../pkg/kernel/link.ts";
import { deleteForwarding, replaceForwarding, replaceNeighbour } from "../../pkg/kernel/neighbour.ts";
import { describeOwner } from "../../pkg/kernel/owner.ts";
import { addRoute, replaceRoute } from "../../pkg/kernel/route.ts";
import { REPAIR_KINDS, repairKind } from "./repair-kind.ts";

const mac = "0a:00:00:00:00:01";
const route = { destination: parsePrefix("fd00::/64"), outputIndex: 2 };
const entry = { index: 2, mac, destination: parseAddress("192.0.2.2") };

test.each([
  [addRoute(route).text, "route"],
  [replaceRoute({ destination: parsePrefix("::/0") }).text, "route"],
  [replaceNeighbour({ index: 2, mac, address: parseAddress("fd00::") }).text, "neighbour"],
  [replaceForwarding(entry).text, "forwarding"],
  [deleteForwarding(entry).text, "forwarding"],
  [deleteLink(2).text, "link"],
  [changeLink(2, { up: true }).text, "link"],
  [createBridge({ name: "cni0", mac }).text, "link"],
  [addAddress({ index: 2, prefix: parsePrefix("10.0.0.1/24") }).text, "address"],
  ["table inet weft", "table"],
  ["nft insert rule ip filter FORWARD accept", "rule"],
  ["net.ipv4.ip_forward=1", "setting"],
  [`rules of ${describeOwner("cni:net/c1/eth0")}`, "attachment"],
])("%s puts back a %s", (text, kind) => {
  expect(repairKind(text)).toBe(kind);
  expect(REPAIR_KINDS).toContain(kind);
});
