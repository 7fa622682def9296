import { expect, test } from "vitest";
import { RTPROT_WEFT } from "../footprint.ts";
import { parseAddress } from "../ip/address.ts";
import { type Encodable, type Message, query, type Request } from "../netlink/message.ts";
import { NTF_PROXY, RTM_NEWNEIGH } from "../netlink/neighbour.ts";
import { type ObservedProxy, parseProxy, planProxies, proxyDump, proxySettings } from "./neighbour-proxy.ts";

const BRIDGE = 5;
const [first, second] = [parseAddress("fd00::4"), parseAddress("fd00::5")];
const messageOf = ({ type, body }: Encodable): Message => ({ type, flags: 0, sequence: 1, portId: 0, payload: body });
const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const entry = (address: typeof first, more: Partial<ObservedProxy> = {}): ObservedProxy => ({
  ...{ index: BRIDGE, address, protocol: RTPROT_WEFT },
  ...more,
});
const texts = (held: readonly ObservedProxy[]) => planProxies(BRIDGE, [first, second], held).map(({ text }) => text);

test("encodes requests as the kernel's bytes, and parses them back", () => {
  const [add] = planProxies(BRIDGE, [first], []);
  // struct ndmsg with NTF_PROXY, then NDA_DST (1) and NDA_PROTOCOL (12).
  const address = "14000100fd000000000000000000000000000004";
  expect(hex(add?.body ?? new Uint8Array())).toBe(`0a0000000500000000000800${address}05000c0077000000`);
  expect(parseProxy(messageOf(add as Request))).toEqual(entry(first));
  const [remove] = planProxies(BRIDGE, [], [entry(first)]);
  expect(hex(remove?.body ?? new Uint8Array())).toBe(`0a0000000500000000000800${address}`);
  expect(hex(proxyDump(6).body)).toBe("0a0000000000000000000800");
});

test("ignores neighbours that are not proxy entries", () => {
  const message = (flags: number, index: number) =>
    messageOf(query(RTM_NEWNEIGH, "", { family: 10, index, flags }, { destination: new Uint8Array(16) }));
  expect(parseProxy(message(NTF_PROXY, BRIDGE))).toBeDefined();
  expect([parseProxy(message(0, BRIDGE)), parseProxy(message(NTF_PROXY, 0))]).toEqual([undefined, undefined]);
});

test.each<[string, ObservedProxy[], string[]]>([
  ["keeps existing entries", [entry(first), entry(second, { protocol: undefined })], []],
  ["adds a missing entry", [entry(first)], ["ip neigh add proxy fd00::5 dev index 5 protocol 119"]],
  [
    "adds an entry that exists only on another link",
    [entry(first, { index: 6 }), entry(second)],
    ["ip neigh add proxy fd00::4 dev index 5 protocol 119"],
  ],
  [
    "removes its entries without a pod, and keeps those of other programs",
    [entry(first), entry(second), entry(parseAddress("fd00::6")), entry(parseAddress("fd00::7"), { protocol: 4 })],
    ["ip neigh del proxy fd00::6 dev index 5"],
  ],
])("%s", (_name, held, expected) => {
  expect(texts(held)).toEqual(expected);
});

test("returns the settings of the given family", () => {
  expect(proxySettings("cni0.1", 4).map(({ name, value }) => [name.join("/"), value])).toEqual([
    ["net/ipv4/neigh/cni0.1/proxy_delay", "0"],
    ["net/ipv4/conf/cni0.1/proxy_arp", "1"],
  ]);
  expect(proxySettings("cni0", 6).map(({ default: general }) => general.join("/"))).toEqual([
    "net/ipv6/neigh/default/proxy_delay",
    "net/ipv6/conf/default/proxy_ndp",
  ]);
});
