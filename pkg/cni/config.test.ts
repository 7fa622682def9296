import { describe, expect, test } from "vitest";
import { formatAddress } from "../ip/address.ts";
import { formatPrefix } from "../ip/prefix.ts";
import { ConfigObject } from "./config.ts";
import { CniError, ErrorCode } from "./errors.ts";

const config = (values: Record<string, unknown>): ConfigObject => new ConfigObject(values);

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof CniError && error.code === ErrorCode.invalidConfig) return error.message;
    throw error;
  }
  return "no refusal";
}

describe("a key", () => {
  test("is found case-insensitively, the exact spelling first", () => {
    expect(config({ HostPort: 1 }).optionalInteger("hostPort")).toBe(1);
    expect(config({ HOSTPORT: 2, hostPort: 1, hostport: 3 }).optionalInteger("hostPort")).toBe(1);
    expect(config({ IngressBurst: 4294967295 }).optionalInteger("ingressBurst")).toBe(4294967295);
  });

  test("is found case-insensitively at every level", () => {
    const nested = config({ RuntimeConfig: { PortMappings: [{ HostPort: 8081 }] } });
    expect(nested.object("runtimeConfig").objectList("portMappings")[0]?.optionalInteger("hostPort")).toBe(8081);
  });

  test("is found only among the configuration's own keys", () => {
    expect(config({}).has("constructor")).toBe(false);
    expect(config({}).value("__proto__")).toBeUndefined();
  });

  test("with the value null reads as absent, but hasKey is true", () => {
    expect(config({ a: null }).optionalString("a")).toBeUndefined();
    expect(config({ a: null }).has("a")).toBe(false);
    expect(config({ a: null }).hasKey("a")).toBe(true);
    expect(config({}).hasKey("a")).toBe(false);
  });
});

describe("a value", () => {
  test("of the expected type is returned", () => {
    const all = config({
      s: "text",
      b: false,
      i: 7,
      address: "10.0.0.1",
      prefix: "10.0.0.1/24",
      subnet: "10.0.0.0/24",
      mac: "0A:58:0A:F4:00:02",
      strings: ["x", "y"],
      lists: [[{ a: 1 }], []],
      addresses: ["10.0.0.1", "fd00::1"],
      prefixes: ["10.0.0.1/24"],
      subnets: ["10.0.0.0/24"],
    });
    expect(all.requiredInteger("i")).toBe(7);
    expect(all.addressList("addresses").map(formatAddress)).toEqual(["10.0.0.1", "fd00::1"]);
    expect(all.prefixList("prefixes").map(formatPrefix)).toEqual(["10.0.0.1/24"]);
    expect(all.subnetList("subnets").map(formatPrefix)).toEqual(["10.0.0.0/24"]);
    expect(all.addressList("absent")).toEqual([]);
    expect(all.requiredString("s")).toBe("text");
    expect(all.optionalBoolean("b")).toBe(false);
    expect(all.optionalInteger("i", { min: 7, max: 7 })).toBe(7);
    expect(formatAddress(all.optionalAddress("address") ?? { family: 4, value: 0n })).toBe("10.0.0.1");
    expect(all.optionalPrefix("prefix")?.length).toBe(24);
    expect(all.optionalSubnet("subnet")?.length).toBe(24);
    expect(all.optionalMac("mac")).toBe("0a:58:0a:f4:00:02");
    expect(all.stringList("strings")).toEqual(["x", "y"]);
    expect(all.objectLists("lists").map((inner) => inner.map((object) => object.path))).toEqual([["lists[0][0]"], []]);
  });

  test("that is absent is undefined or empty, and an empty string is no address", () => {
    const none = config({ gateway: "" });
    expect([none.optionalString("s"), none.optionalBoolean("b"), none.optionalInteger("i")]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect([none.list("l"), none.stringList("l"), none.objectList("l")]).toEqual([[], [], []]);
    expect(none.optionalAddress("gateway")).toBeUndefined();
    expect(none.object("o").object("p").optionalString("q")).toBeUndefined();
  });

  test.each([
    [{ k: 1 }, (c: ConfigObject) => c.optionalString("k"), "k: expected a string, got 1"],
    [{}, (c: ConfigObject) => c.requiredString("k"), "k: expected a string that is not empty, got nothing"],
    [{ k: "" }, (c: ConfigObject) => c.requiredString("k"), 'k: expected a string that is not empty, got ""'],
    [{ k: "true" }, (c: ConfigObject) => c.optionalBoolean("k"), 'k: expected true or false, got "true"'],
    [{ k: 1.5 }, (c: ConfigObject) => c.optionalInteger("k"), "k: expected an integer, got 1.5"],
    [{ k: "1" }, (c: ConfigObject) => c.optionalInteger("k"), 'k: expected an integer, got "1"'],
    [{ k: 2 ** 60 }, (c: ConfigObject) => c.optionalInteger("k"), "k: expected an integer, got 1152921504606847000"],
    [{ k: -1 }, (c: ConfigObject) => c.optionalInteger("k", { min: 0 }), "an integer of at least 0, got -1"],
    [{ k: 9 }, (c: ConfigObject) => c.optionalInteger("k", { max: 8 }), "an integer of at most 8, got 9"],
    [{ k: 4095 }, (c: ConfigObject) => c.optionalInteger("k", { min: 0, max: 4094 }), "an integer from 0 to 4094"],
    [{ k: "x" }, (c: ConfigObject) => c.optionalAddress("k"), 'k: "x" is not an IP address'],
    [{ k: 5 }, (c: ConfigObject) => c.optionalAddress("k"), "k: expected an IP address, got 5"],
    [{ k: "10.0.0.1" }, (c: ConfigObject) => c.optionalPrefix("k"), 'k: "10.0.0.1" is not a prefix'],
    [{ k: "10.0.0.1/8" }, (c: ConfigObject) => c.optionalSubnet("k"), "10.0.0.0/8"],
    [{ k: "0a:58" }, (c: ConfigObject) => c.optionalMac("k"), 'k: "0a:58" is not a MAC address'],
    [{ k: {} }, (c: ConfigObject) => c.list("k"), "k: expected a list, got {}"],
    [{ k: ["a", 1] }, (c: ConfigObject) => c.stringList("k"), "k[1]: expected a string, got 1"],
    [{}, (c: ConfigObject) => c.requiredInteger("k", { min: 1 }), "k: expected an integer of at least 1, got nothing"],
    [{ k: ["10.0.0.1", "x"] }, (c: ConfigObject) => c.addressList("k"), 'k[1]: "x" is not an IP address'],
    [{ k: ["10.0.0.1"] }, (c: ConfigObject) => c.prefixList("k"), 'k[0]: "10.0.0.1" is not a prefix'],
    [{ k: ["10.0.0.1/8"] }, (c: ConfigObject) => c.subnetList("k"), "k[0]: "],
    [{ k: [] }, (c: ConfigObject) => c.optionalObject("k"), "k: expected an object, got []"],
    [{ k: [{}, 3] }, (c: ConfigObject) => c.objectList("k"), "k[1]: expected an object, got 3"],
    [{ k: [{}] }, (c: ConfigObject) => c.objectLists("k"), "k[0]: expected a list, got {}"],
    [{ k: [[null]] }, (c: ConfigObject) => c.objectLists("k"), "k[0][0]: expected an object, got null"],
    [{ a: { B: { c: 1 } } }, (c: ConfigObject) => c.object("a").object("b").optionalString("c"), "a.b.c: expected"],
  ])("of the wrong type (%j) is refused with its path, the expected type and the value", (values, read, message) => {
    expect(refusal(() => read(config(values)))).toContain(message);
  });

  test("that is long is truncated in errors", () => {
    expect(refusal(() => config({ k: ["x".repeat(500)] }).optionalString("k")).length).toBeLessThan(130);
  });
});

test("a prefix keeps its host bits", () => {
  expect(formatPrefix(config({ p: "10.0.0.7/24" }).optionalPrefix("p") as never)).toBe("10.0.0.7/24");
});
