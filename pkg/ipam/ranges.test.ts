import { describe, expect, test } from "vitest";
import { ConfigObject } from "../cni/config.ts";
import { formatAddress, parseAddress } from "../ip/address.ts";
import { formatRangeSet, rangeOf, readRangeSets } from "./ranges.ts";

const read = (ipam: object, runtimeConfig: object = {}) =>
  readRangeSets(
    new ConfigObject(ipam as Record<string, unknown>, "ipam"),
    new ConfigObject(runtimeConfig as Record<string, unknown>, "runtimeConfig"),
  );

describe("a range", () => {
  test.each([
    [{ subnet: "10.244.0.0/24" }, "10.244.0.1-10.244.0.254", "10.244.0.1"],
    [{ subnet: "10.244.0.0/30" }, "10.244.0.1-10.244.0.2", "10.244.0.1"],
    [{ subnet: "fd00::/64" }, "fd00::1-fd00::ffff:ffff:ffff:ffff", "fd00::1"],
    [{ subnet: "10.0.0.0/8", rangeStart: "10.1.0.5", rangeEnd: "10.1.0.9" }, "10.1.0.5-10.1.0.9", "10.0.0.1"],
    [
      { subnet: "10.244.0.0/24", rangeStart: "10.244.0.9", rangeEnd: "10.244.0.9" },
      "10.244.0.9-10.244.0.9",
      "10.244.0.1",
    ],
    [{ subnet: "10.244.0.0/24", gateway: "10.244.0.254" }, "10.244.0.1-10.244.0.254", "10.244.0.254"],
    [{ subnet: "203.0.113.0/29", gateway: "169.254.1.1" }, "203.0.113.1-203.0.113.6", "169.254.1.1"],
    [{ subnet: "10.0.0.0/30", rangeStart: "10.0.0.0", rangeEnd: "10.0.0.3" }, "10.0.0.0-10.0.0.3", "10.0.0.1"],
    [{ Subnet: "10.244.0.0/24", RANGESTART: "10.244.0.7", gateway: "" }, "10.244.0.7-10.244.0.254", "10.244.0.1"],
  ])("%j is %s with gateway %s", (range, text, gateway) => {
    const [set] = read({ ranges: [[range]] });
    expect(formatRangeSet(set ?? [])).toBe(text);
    expect(formatAddress(set?.[0]?.gateway ?? parseAddress("::"))).toBe(gateway);
  });

  test.each([
    [{}, "subnet: expected a network such as 10.244.0.0/24, got nothing"],
    [{ subnet: "10.244.0.5/24" }, "host bits set: expected the network's own address, 10.244.0.0/24"],
    [{ subnet: "10.244.0.0" }, "is not a prefix"],
    [{ subnet: "10.244.0.0/31" }, "subnet: expected a network of at least four addresses (/30 or shorter)"],
    [{ subnet: "10.244.0.0/32" }, "/30 or shorter"],
    [{ subnet: "fd00::/127" }, "/126 or shorter"],
    [{ subnet: "10.244.0.0/24", rangeStart: "10.245.0.1" }, "rangeStart: expected an address in 10.244.0.0/24"],
    [{ subnet: "10.244.0.0/24", rangeEnd: "fd00::1" }, "rangeEnd: expected an address in 10.244.0.0/24"],
    [
      { subnet: "10.244.0.0/24", rangeStart: "10.244.0.9", rangeEnd: "10.244.0.8" },
      'not before rangeStart, 10.244.0.9, got "10.244.0.8"',
    ],
    [{ subnet: "10.244.0.0/24", gateway: "fd00::1" }, "gateway: expected an IPv4 address"],
    [{ subnet: "10.244.0.0/24", gateway: "x" }, 'gateway: "x" is not an IP address'],
  ])("refuses %j", (range, message) => {
    const refusal = expect.objectContaining({ code: 7, message: expect.stringContaining(message) });
    expect(() => read({ ranges: [[range]] })).toThrow(refusal);
    expect(() => read({ ranges: [[range]] })).toThrow("ipam.ranges[0][0].");
  });
});

describe("range sets", () => {
  const a = { subnet: "10.1.0.0/24" };
  const b = { subnet: "10.2.0.0/24" };
  const six = { subnet: "fd00::/64" };

  test("are ordered: the runtime's, the old flat keys, the list", () => {
    const sets = read({ subnet: "10.3.0.0/24", rangeStart: "10.3.0.9", ranges: [[b], [six]] }, { ipRanges: [[a]] });
    expect(sets.map(formatRangeSet)).toEqual([
      "10.1.0.1-10.1.0.254",
      "10.3.0.9-10.3.0.254",
      "10.2.0.1-10.2.0.254",
      "fd00::1-fd00::ffff:ffff:ffff:ffff",
    ]);
  });

  test("may be empty", () => {
    expect(read({})).toEqual([]);
  });

  test("may share a subnet if their bounds do not overlap", () => {
    const low = { ...a, rangeEnd: "10.1.0.99" };
    const high = { ...a, rangeStart: "10.1.0.100" };
    expect(read({ ranges: [[low, high]] }).map(formatRangeSet)).toEqual(["10.1.0.1-10.1.0.99,10.1.0.100-10.1.0.254"]);
    const met = { ...a, rangeStart: "10.1.0.99" };
    expect(() => read({ ranges: [[low, met]] })).toThrow("without overlap");
    expect(() => read({ ranges: [[met], [low]] })).toThrow("without overlap");
    expect(() => read({ ranges: [[{ ...a, rangeStart: "10.1.0.5", rangeEnd: "10.1.0.6" }], [a]] })).toThrow("overlap");
  });

  test.each([
    [{ ranges: [[]] }, "ipam.ranges[0]: expected at least one range"],
    [
      { ranges: [[a], [b, six]] },
      "ipam.ranges[1]: expected ranges of one address family, got 10.2.0.0/24 and fd00::/64",
    ],
    [{ ranges: [a] }, "ipam.ranges[0]: expected a list"],
    [{ ranges: {} }, "ipam.ranges: expected a list"],
    [{ subnet: "10.0.0.1/8" }, "ipam.subnet"],
  ])("refuse %j", (ipam, message) => {
    expect(() => read(ipam)).toThrow(expect.objectContaining({ code: 7, message: expect.stringContaining(message) }));
  });

  test("from the runtime are refused with the runtime's key in the error", () => {
    expect(() => read({}, { ipRanges: [[{ subnet: "10.0.0.1/8" }]] })).toThrow("runtimeConfig.ipRanges[0][0].subnet");
  });

  test("find the range that contains an address", () => {
    const [set = []] = read({ ranges: [[{ ...a, rangeStart: "10.1.0.9" }, b]] });
    expect(rangeOf(set, parseAddress("10.2.0.7"))).toBe(set[1]);
    expect(rangeOf(set, parseAddress("10.1.0.8"))).toBeUndefined();
    expect(rangeOf(set, parseAddress("fd00::1"))).toBeUndefined();
  });
});
