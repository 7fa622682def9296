import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AddressError, addressBits, addressFromBytes, formatAddress, parseAddress } from "./address.ts";
import {
  contains,
  firstHost,
  formatPrefix,
  isSamePrefix,
  lastAddress,
  networkOf,
  overlaps,
  type Prefix,
  parsePrefix,
  parseSubnet,
} from "./prefix.ts";

const anyPrefix = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map(addressFromBytes)
  .chain((address) =>
    fc.integer({ min: 0, max: addressBits(address.family) }).map((length): Prefix => ({ address, length })),
  );

describe("prefix text", () => {
  test.each([
    ["10.244.0.2/24", "10.244.0.2/24"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["10.0.0.1/32", "10.0.0.1/32"],
    ["FD00:0::/64", "fd00::/64"],
    ["::/0", "::/0"],
  ])("parses %s and formats it as %s", (text, canonical) => {
    expect(formatPrefix(parsePrefix(text))).toBe(canonical);
  });

  test.each([
    ["10.0.0.0", "expected an address and a prefix length"],
    ["10.0.0.0/", "prefix length from 0 to 32"],
    ["10.0.0.0/33", "prefix length from 0 to 32"],
    ["10.0.0.0/08", "prefix length from 0 to 32"],
    ["10.0.0.0/-1", "prefix length from 0 to 32"],
    ["10.0.0.0/24/24", "prefix length from 0 to 32"],
    ["10.0.0.0/255.0.0.0", "prefix length from 0 to 32"],
    ["fd00::/129", "prefix length from 0 to 128"],
    ["10.0.0/24", "is not an IP address"],
    ["::ffff:10.0.0.0/120", "expected 10.0.0.0"],
  ])("refuses %s with an error that says what was expected", (text, expected) => {
    expect(() => parsePrefix(text)).toThrow(AddressError);
    expect(() => parsePrefix(text)).toThrow(expected);
  });

  test("every prefix is the same after formatting and parsing", () => {
    fc.assert(
      fc.property(anyPrefix, (prefix) => {
        fc.pre(prefix.address.family === 4 || prefix.address.value >> 32n !== 0xffffn);
        expect(isSamePrefix(parsePrefix(formatPrefix(prefix)), prefix)).toBe(true);
      }),
    );
  });

  test("parseSubnet refuses host bits and names the corrected subnet", () => {
    expect(() => parseSubnet("10.244.1.5/16")).toThrow("10.244.0.0/16");
    expect(() => parseSubnet("fd00::1:5/64")).toThrow("fd00::/64");
    expect(formatPrefix(parseSubnet("10.244.0.0/16"))).toBe("10.244.0.0/16");
  });
});

describe("prefix arithmetic", () => {
  test.each([
    ["10.244.3.7/24", "10.244.3.0", "10.244.3.1", "10.244.3.255"],
    ["10.0.0.9/8", "10.0.0.0", "10.0.0.1", "10.255.255.255"],
    ["10.0.0.3/31", "10.0.0.2", "10.0.0.2", "10.0.0.3"],
    ["10.0.0.3/32", "10.0.0.3", "10.0.0.3", "10.0.0.3"],
    ["0.0.0.0/0", "0.0.0.0", "0.0.0.1", "255.255.255.255"],
    ["fd00::5/64", "fd00::", "fd00::1", "fd00::ffff:ffff:ffff:ffff"],
  ])("%s has network %s, first host %s and last address %s", (text, network, first, last) => {
    const prefix = parsePrefix(text);
    expect(formatAddress(networkOf(prefix).address)).toBe(network);
    expect(formatAddress(firstHost(prefix))).toBe(first);
    expect(formatAddress(lastAddress(prefix))).toBe(last);
  });

  test("contains accepts the first and last address and refuses neighbours and the other family", () => {
    const prefix = parsePrefix("10.244.3.0/24");
    expect(contains(prefix, parseAddress("10.244.3.0"))).toBe(true);
    expect(contains(prefix, parseAddress("10.244.3.255"))).toBe(true);
    expect(contains(prefix, parseAddress("10.244.4.0"))).toBe(false);
    expect(contains(prefix, parseAddress("10.244.2.255"))).toBe(false);
    expect(contains(parsePrefix("::/0"), parseAddress("10.244.3.1"))).toBe(false);
  });

  test("every prefix contains its first and last address and overlaps them", () => {
    fc.assert(
      fc.property(anyPrefix, anyPrefix, (a, b) => {
        expect(contains(a, networkOf(a).address)).toBe(true);
        expect(contains(a, lastAddress(a))).toBe(true);
        expect(contains(a, firstHost(a))).toBe(true);
        expect(overlaps(a, b)).toBe(overlaps(b, a));
        expect(overlaps(a, b)).toBe(contains(a, networkOf(b).address) || contains(b, networkOf(a).address));
      }),
    );
  });
});
