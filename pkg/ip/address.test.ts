import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Address,
  AddressError,
  addressFromBytes,
  addressToBytes,
  compareAddresses,
  formatAddress,
  isSameAddress,
  parseAddress,
} from "./address.ts";

const anyAddress4 = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value): Address => ({ family: 4, value }));
const anyAddress6 = fc
  .oneof(
    fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }),
    // Addresses with many zero groups: uniformly distributed numbers hardly ever have text that is compressed.
    fc
      .array(fc.constantFrom(0n, 0n, 1n, 0xffffn), { minLength: 8, maxLength: 8 })
      .map((groups) => groups.reduce<bigint>((value, group) => (value << 16n) | group, 0n)),
  )
  .filter((value) => value >> 32n !== 0xffffn)
  .map((value): Address => ({ family: 6, value }));
const anyAddress = fc.oneof(anyAddress4, anyAddress6);

describe("address text", () => {
  test.each([
    ["0.0.0.0", 4, 0n, "0.0.0.0"],
    ["10.244.0.1", 4, 0x0af40001n, "10.244.0.1"],
    ["255.255.255.255", 4, 0xffffffffn, "255.255.255.255"],
    ["::", 6, 0n, "::"],
    ["::1", 6, 1n, "::1"],
    ["1::", 6, 1n << 112n, "1::"],
    ["FD00:0:0:0:0:0:0:0001", 6, (0xfd00n << 112n) | 1n, "fd00::1"],
    ["2001:db8:0:1:1:1:1:1", 6, 0x20010db8000000010001000100010001n, "2001:db8:0:1:1:1:1:1"],
    ["2001:db8:0:0:1:0:0:1", 6, 0x20010db8000000000001000000000001n, "2001:db8::1:0:0:1"],
    ["2001:0:0:1:0:0:0:1", 6, 0x20010000000000010000000000000001n, "2001:0:0:1::1"],
    ["64:ff9b::192.0.2.33", 6, 0x0064ff9b0000000000000000c0000221n, "64:ff9b::c000:221"],
  ])("parses %s and formats it canonically", (text, family, value, canonical) => {
    expect(parseAddress(text)).toEqual({ family, value });
    expect(formatAddress(parseAddress(text))).toBe(canonical);
  });

  test.each([
    ["", "expected an IPv4 address"],
    ["10.0.0", "expected an IPv4 address"],
    ["10.0.0.0.1", "expected an IPv4 address"],
    ["10.0.0.256", "expected an IPv4 address"],
    ["10.0.0.01", "without leading zeros"],
    ["10.0.0.-1", "expected an IPv4 address"],
    ["10.0.0.0x1", "expected an IPv4 address"],
    [" 10.0.0.1", "expected an IPv4 address"],
    ["10.0.0.1\n", "expected an IPv4 address"],
    ["10.0.0.1/24", "without a prefix length"],
    ["lock", "expected an IPv4 address"],
    ["::ffff:10.0.0.1", "expected 10.0.0.1"],
    ["::FFFF:a00:1", "expected 10.0.0.1"],
    ["fe80::1%eth0", "without a zone"],
    ["1:2:3:4:5:6:7", "expected an IPv6 address"],
    ["1:2:3:4:5:6:7:8:9", "expected an IPv6 address"],
    ["1::2::3", "expected an IPv6 address"],
    [":::", "expected an IPv6 address"],
    ["12345::", "expected an IPv6 address"],
    ["fd00::g", "expected an IPv6 address"],
    ["fd00::1 ", "expected an IPv6 address"],
    ["fd00::1.2.3.04", "expected an IPv6 address"],
    ["[fd00::1]", "expected an IPv6 address"],
  ])("refuses %j with an error that says what was expected", (text, expected) => {
    expect(() => parseAddress(text)).toThrow(AddressError);
    expect(() => parseAddress(text)).toThrow(expected);
  });

  test("every address is the same after formatting and parsing", () => {
    fc.assert(
      fc.property(anyAddress, (address) => {
        expect(parseAddress(formatAddress(address))).toEqual(address);
      }),
    );
  });

  test("any text parses or throws AddressError", () => {
    const almost = fc.string({ unit: fc.constantFrom(..."0123456789abcdefF:./%x -"), maxLength: 48 });
    fc.assert(
      fc.property(fc.oneof(almost, fc.string()), (text) => {
        try {
          const canonical = formatAddress(parseAddress(text));
          expect(formatAddress(parseAddress(canonical))).toBe(canonical);
        } catch (error) {
          expect(error).toBeInstanceOf(AddressError);
        }
      }),
    );
  });
});

describe("address bytes", () => {
  test("are in network byte order", () => {
    expect([...addressToBytes(parseAddress("10.244.0.1"))]).toEqual([10, 244, 0, 1]);
    expect([...addressToBytes(parseAddress("fd00::1"))]).toEqual([0xfd, ...new Array(14).fill(0), 1]);
  });

  test("every address is the same after conversion to bytes and back", () => {
    fc.assert(
      fc.property(anyAddress, (address) => {
        expect(addressFromBytes(addressToBytes(address))).toEqual(address);
      }),
    );
  });

  test("are refused if they are not 4 or 16", () => {
    expect(() => addressFromBytes(new Uint8Array(5))).toThrow("expected 4 or 16");
  });
});

describe("address comparison", () => {
  test("the same number in two families is not the same address", () => {
    expect(isSameAddress({ family: 4, value: 1n }, { family: 6, value: 1n })).toBe(false);
    expect(isSameAddress({ family: 4, value: 1n }, { family: 4, value: 1n })).toBe(true);
  });

  test("IPv4 addresses sort before IPv6 addresses, each family by number", () => {
    const sorted = ["10.0.0.1", "10.0.0.2", "::1", "fd00::"];
    const shuffled = ["fd00::", "10.0.0.2", "::1", "10.0.0.1"].map(parseAddress);
    expect(shuffled.sort(compareAddresses).map(formatAddress)).toEqual(sorted);
    expect(compareAddresses(parseAddress("::1"), parseAddress("::1"))).toBe(0);
  });
});
