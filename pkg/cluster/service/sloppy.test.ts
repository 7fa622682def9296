import { describe, expect, test } from "vitest";
import { formatAddress } from "../../ip/address.ts";
import { formatPrefix } from "../../ip/prefix.ts";
import { parseSloppyAddress, parseSloppyPrefix } from "./sloppy.ts";

describe("an address", () => {
  test.each([
    ["10.96.0.1", "10.96.0.1"],
    ["010.096.000.01", "10.96.0.1"],
    ["192.168.0.00009", "192.168.0.9"],
    ["::ffff:010.0.0.1", "10.0.0.1"],
    ["::FFFF:10.0.0.1", "10.0.0.1"],
    ["FD00:0:0::1", "fd00::1"],
  ])("%s is parsed as %s", (text, expected) => {
    expect(formatAddress(parseSloppyAddress(text))).toBe(expected);
  });

  test.each(["", "10.96.0", "10.96.0.256", "10.96.0.1.1", "10.96.0.0x1", " 10.96.0.1", "10.96.0.1/32", "fe80::1%eth0"])(
    "refuses %j",
    (text) => {
      expect(() => parseSloppyAddress(text)).toThrow(/is not an IP address/);
    },
  );
});

describe("a prefix", () => {
  test.each([
    ["10.0.0.0/8", "10.0.0.0/8"],
    [" 10.0.0.0/8\t", "10.0.0.0/8"],
    ["010.000.000.001/08", "10.0.0.0/8"],
    ["10.1.2.3/16", "10.1.0.0/16"],
    ["fd00::1/64", "fd00::/64"],
    ["0.0.0.0/0", "0.0.0.0/0"],
  ])("%j is parsed as %s", (text, expected) => {
    expect(formatPrefix(parseSloppyPrefix(text))).toBe(expected);
  });

  test.each(["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "fd00::/129", "10.0.0.0/1e1", ""])(
    "refuses %j",
    (text) => {
      expect(() => parseSloppyPrefix(text)).toThrow(/is not/);
    },
  );
});
