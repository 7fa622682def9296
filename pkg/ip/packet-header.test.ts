import { expect, test } from "vitest";
import { addressToBytes, formatAddress, parseAddress } from "./address.ts";
import { readPacketHeader } from "./packet-header.ts";

const PORTS = [0x9c, 0x40, 0x00, 0x50];

function ipv4(protocol: number, rest: readonly number[], { fragment = 0, options = 0 } = {}): Uint8Array {
  const header = new Uint8Array(20 + options);
  header[0] = 0x40 | ((20 + options) / 4);
  header.set([fragment >> 8, fragment & 0xff], 6);
  header[9] = protocol;
  header.set(addressToBytes(parseAddress("10.244.1.2")), 12);
  header.set(addressToBytes(parseAddress("10.244.1.3")), 16);
  return Uint8Array.from([...header, ...rest]);
}

function ipv6(next: number, rest: readonly number[]): Uint8Array {
  const header = new Uint8Array(40);
  header[0] = 0x60;
  header[6] = next;
  header.set(addressToBytes(parseAddress("fd00::2")), 8);
  header.set(addressToBytes(parseAddress("fd00::3")), 24);
  return Uint8Array.from([...header, ...rest]);
}

const read = (bytes: Uint8Array) => {
  const header = readPacketHeader(bytes);
  return header && [formatAddress(header.from), formatAddress(header.to), header.protocol, header.destinationPort];
};
const V4 = ["10.244.1.2", "10.244.1.3"];
const V6 = ["fd00::2", "fd00::3"];
/** An extension header of `units` + 1 times eight bytes. */
const extension = (next: number, units = 0) => [next, units, ...new Array<number>(units * 8 + 6).fill(0)];

test("reads addresses, protocol and destination port of IPv4, after options", () => {
  expect(read(ipv4(6, PORTS))).toEqual([...V4, 6, 80]);
  expect(read(ipv4(17, PORTS, { options: 8 }))).toEqual([...V4, 17, 80]);
  expect(read(ipv4(132, PORTS))).toEqual([...V4, 132, 80]);
});

test("protocols without ports have none", () => {
  expect(read(ipv4(1, PORTS))).toEqual([...V4, 1, undefined]);
  expect(read(ipv6(58, PORTS))).toEqual([...V6, 58, undefined]);
});

test("only the first fragment has ports", () => {
  const moreFragments = 0x2000;
  expect(read(ipv4(17, PORTS, { fragment: moreFragments }))).toEqual([...V4, 17, 80]);
  expect(read(ipv4(17, PORTS, { fragment: moreFragments | 185 }))).toEqual([...V4, 17, undefined]);
  const fragment = (offset: number) => [17, 0, offset >> 8, offset & 0xff, 0, 0, 0, 1];
  expect(read(ipv6(44, [...fragment(1), ...PORTS]))).toEqual([...V6, 17, 80]);
  expect(read(ipv6(44, [...fragment(1480), ...PORTS]))).toEqual([...V6, 17, undefined]);
});

test("a later fragment's data is not read as an extension header", () => {
  const data = extension(6);
  expect(read(ipv6(44, [60, 0, 0x05, 0xc8, 0, 0, 0, 1, ...data, ...PORTS]))).toEqual([...V6, 60, undefined]);
});

test("skips IPv6 extension headers of all lengths", () => {
  expect(read(ipv6(6, PORTS))).toEqual([...V6, 6, 80]);
  expect(read(ipv6(0, [...extension(43, 1), ...extension(60, 2), ...extension(6), ...PORTS]))).toEqual([...V6, 6, 80]);
  // The length of an authentication header counts units of four bytes, minus two.
  const authentication = [6, 4, ...new Array<number>(22).fill(0)];
  expect(read(ipv6(51, [...authentication, ...PORTS]))).toEqual([...V6, 6, 80]);
});

test("a copy that ends before the ports has none", () => {
  expect(read(ipv4(6, PORTS.slice(0, 3)))).toEqual([...V4, 6, undefined]);
  expect(read(ipv6(0, extension(6, 3).slice(0, 16)))).toEqual([...V6, 6, undefined]);
});

test("bytes that are no IP packet have no header", () => {
  expect(read(new Uint8Array())).toBeUndefined();
  expect(read(ipv4(6, PORTS).subarray(0, 19))).toBeUndefined();
  expect(read(ipv6(6, PORTS).subarray(0, 39))).toBeUndefined();
  expect(read(Uint8Array.from([0x50, ...new Array<number>(60).fill(0)]))).toBeUndefined();
});
