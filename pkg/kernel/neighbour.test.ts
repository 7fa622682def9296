import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parseMac } from "../ip/mac.ts";
import { AF_BRIDGE, AF_INET } from "../netlink/link.ts";
import { type Encodable, type Message, query, type Request } from "../netlink/message.ts";
import { NTF_SELF, NUD_PERMANENT, RTM_NEWNEIGH } from "../netlink/neighbour.ts";
import {
  deleteForwarding,
  deleteNeighbour,
  parseForwarding,
  parseNeighbour,
  replaceForwarding,
  replaceNeighbour,
} from "./neighbour.ts";

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const messageOf = ({ type, body }: Encodable): Message => ({ type, flags: 0, sequence: 1, portId: 0, payload: body });

const neighbour = { index: 7, address: parseAddress("10.244.2.0"), mac: "0a:00:00:00:00:02" };
const neighbour6 = { index: 7, address: parseAddress("fd00::"), mac: "0a:00:00:00:00:02" };
const forwarding = { index: 7, mac: "0a:00:00:00:00:02", destination: parseAddress("192.0.2.2") };

describe("encodes requests as the kernel's bytes", () => {
  // struct ndmsg (family, 3 bytes of padding, index, state, flags, type), then NDA_DST (1) and NDA_LLADDR (2).
  test.each<[Request, string]>([
    [replaceNeighbour(neighbour), "020000000700000080000000080001000af402000a0002000a00000000020000"],
    [deleteNeighbour(neighbour), "020000000700000000000000080001000af40200"],
    [replaceForwarding(forwarding), "07000000070000008000020008000100c00002020a0002000a00000000020000"],
    [deleteForwarding(forwarding), "0700000007000000000002000a0002000a00000000020000"],
  ])("$text", ({ body }, bytes) => {
    expect(hex(body)).toBe(bytes);
  });
});

test("parses an entry back as it was written", () => {
  expect(parseNeighbour(messageOf(replaceNeighbour(neighbour)))).toEqual({ ...neighbour, isPermanent: true });
  expect(parseNeighbour(messageOf(replaceNeighbour(neighbour6)))).toEqual({ ...neighbour6, isPermanent: true });
  expect(parseForwarding(messageOf(replaceForwarding(forwarding)))).toEqual({ ...forwarding, isPlain: true });
});

const lladdr = parseMac("0a:00:00:00:00:02");
const destination = Uint8Array.of(192, 0, 2, 2);
const permanent = { family: AF_BRIDGE, index: 7, state: NUD_PERMANENT, flags: NTF_SELF };
const told = (header: object, attributes: object) => messageOf(query(RTM_NEWNEIGH, "", header, attributes));

test.each([
  ["that ages", { ...permanent, state: 2 }, {}],
  ["with another port", permanent, { port: 4789 }],
  ["with another VNI", permanent, { vni: 9 }],
  ["with its own underlay link", permanent, { interfaceIndex: 3 }],
])("a forwarding entry %s is not plain", (_name, header, more) => {
  expect(parseForwarding(told(header, { lladdr, destination, ...more }))?.isPlain).toBe(false);
});

test("ignores entries of other kinds", () => {
  // A bridge's own entry has no destination; an unresolved neighbour has no hardware address.
  expect(parseForwarding(told(permanent, { lladdr }))).toBeUndefined();
  expect(parseNeighbour(told({ family: AF_INET, index: 7, state: 1 }, { destination }))).toBeUndefined();
  expect(parseNeighbour(told(permanent, { lladdr, destination }))).toBeUndefined();
  expect(parseForwarding(told({ ...permanent, family: AF_INET }, { lladdr, destination }))).toBeUndefined();
});
