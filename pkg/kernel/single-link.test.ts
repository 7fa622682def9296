import { expect, test } from "vitest";
import { ByteWriter } from "../netlink/bytes.ts";
import { RTM_NEWLINK } from "../netlink/link.ts";
import { decode, NLM_F_CREATE, NLM_F_EXCL, splitDatagram, writeRequest } from "../netlink/message.ts";
import { createSingleLink, IPVLAN_MODE, MACVLAN_MODE, type SingleLink } from "./single-link.ts";

function sent(link: SingleLink) {
  const writer = new ByteWriter();
  const item = createSingleLink(link);
  writeRequest(writer, item, 1, 0);
  const [message] = splitDatagram(writer.finish());
  if (message === undefined) throw new Error("nothing was written");
  return { text: item.text, flags: message.flags, ...decode(RTM_NEWLINK, message).attributes };
}

test("sends name, namespace, parent, MTU, address and the kind's attributes in one message that only creates", () => {
  const data = { mode: MACVLAN_MODE.vepa, broadcastQueueLength: 2000 };
  const link = sent({
    ...{ name: "eth0", device: { kind: "macvlan", data }, mac: "0a:00:00:00:00:01" },
    ...{ mtu: 1400, parentIndex: 3, namespaceFd: 7 },
  });
  expect(link).toMatchObject({
    ...{ ifname: "eth0", link: 3, netNsFd: 7, mtu: 1400, address: new Uint8Array([10, 0, 0, 0, 0, 1]) },
    linkInfo: { device: { kind: "macvlan", data } },
    text: "ip link add eth0 link index 3 netns (the pod's) type macvlan",
  });
  expect(link.flags & (NLM_F_CREATE | NLM_F_EXCL)).toBe(NLM_F_CREATE | NLM_F_EXCL);
});

test.each([
  [{ kind: "ipvlan", data: { mode: IPVLAN_MODE.l3s } }],
  [{ kind: "vlan", data: { id: 100 } }],
  [{ kind: "dummy" }],
] as const)("encodes %j without changes", (device) => {
  const { text, flags, ...attributes } = sent({ name: "eth0", device });
  expect(attributes).toEqual({ ifname: "eth0", linkInfo: { device: { data: undefined, ...device }, port: undefined } });
  expect(text).toBe(`ip link add eth0 type ${device.kind}`);
});
