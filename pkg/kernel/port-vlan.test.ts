import { expect, test } from "vitest";
import { encode } from "../netlink/codec.ts";
import { ifinfomsg } from "../netlink/link.ts";
import type { Message, Request } from "../netlink/message.ts";
import { addPortVlans, clearPortVlans, isInVlan, missingVlan, parsePortVlans } from "./port-vlan.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const HEADER = encode(ifinfomsg, { family: 7, index: 5, padding: 0, type: 0, flags: 0, change: 0 }).length;
const attributesOf = ({ body }: Request) => hex(body.subarray(HEADER));
const answer = ({ type, flags, body }: Request): Message => ({ type, flags, sequence: 0, portId: 0, payload: body });

test("adds a port's VLANs in one request, with ranges by their first and last VLAN", () => {
  const add = addPortVlans(5, {
    native: 100,
    tagged: [
      { first: 200, last: 200 },
      { first: 300, last: 302 },
    ],
  });
  expect(add.text).toBe("bridge vlan add dev index 5 vid 100 pvid untagged, vid 200, vid 300-302");
  // IFLA_AF_SPEC { 4 x IFLA_BRIDGE_VLAN_INFO: flags, vid }
  expect(attributesOf(add)).toBe(
    "24001a80" + "08000200" + "06006400" + "08000200" + "0000c800" + "08000200" + "08002c01" + "08000200" + "10002e01",
  );
  expect(hex(add.body.subarray(0, 8))).toBe("0700000005000000");
  expect(clearPortVlans(5).text).toBe("bridge vlan del dev index 5 vid 1-4094");
});

test("parses added VLANs back, and finds none missing", () => {
  const vlans = {
    native: 100,
    tagged: [
      { first: 200, last: 200 },
      { first: 300, last: 302 },
    ],
  };
  const read = parsePortVlans(answer(addPortVlans(5, vlans)));
  expect(read).toEqual({
    index: 5,
    name: "",
    bridgeIndex: 0,
    vlans: [
      { first: 100, last: 100, isNative: true, isUntagged: true },
      { first: 200, last: 200, isNative: false, isUntagged: false },
      { first: 300, last: 302, isNative: false, isUntagged: false },
    ],
  });
  expect(missingVlan(read.vlans, vlans)).toBeUndefined();
  expect(missingVlan(read.vlans, { ...vlans, native: 200 })).toBe(200);
  expect(missingVlan(read.vlans, { ...vlans, tagged: [{ first: 299, last: 301 }] })).toBe(299);
  expect(missingVlan(read.vlans, { ...vlans, tagged: [{ first: 100, last: 100 }] })).toBe(100);
  expect([99, 100, 301, 303].map((vid) => isInVlan(read, vid))).toEqual([false, true, true, false]);
});
