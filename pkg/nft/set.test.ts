import { array as arrayOf, assert, integer, property, tuple } from "fast-check";
import { describe, expect, test } from "vitest";
import { runs } from "../../test/fuzz/samples.ts";
import { formatAddress, parseAddress } from "../ip/address.ts";
import { contains, formatPrefix, parsePrefix } from "../ip/prefix.ts";
import { NFT_SET_ELEM_INTERVAL_END } from "../netlink/nftables.ts";
import {
  elementsText,
  keyAttributes,
  keyText,
  mergeRanges,
  type NftSet,
  readElement,
  readPair,
  readTuple,
  type TupleSet,
  wireElements,
} from "./set.ts";

const named = { name: "s", comment: "c" };
const prefixes = (family: 4 | 6, ...texts: string[]): NftSet => ({
  ...named,
  kind: "prefixes",
  family,
  elements: texts.map(parsePrefix),
});
const pair = (source: string, destination: string, comment?: string): NftSet => ({
  ...named,
  kind: "pairs",
  family: parseAddress(source).family,
  elements: [
    {
      source: parseAddress(source),
      destination: parsePrefix(destination),
      ...(comment === undefined ? {} : { comment }),
    },
  ],
});
const hex = (bytes: Uint8Array | undefined) =>
  Array.from(bytes ?? [], (byte) => byte.toString(16).padStart(2, "0")).join("");
const ends = (set: NftSet) =>
  wireElements(set).map(({ key, flags }) => `${hex(key?.value)}${flags === NFT_SET_ELEM_INTERVAL_END ? " end" : ""}`);

describe("ranges", () => {
  test.each([
    ["a range ends after its last address", ["10.1.0.0/16"], ["0a010000", "0a020000 end"]],
    ["adjacent ranges are merged", ["10.1.1.0/24", "10.1.0.0/24"], ["0a010000", "0a010200 end"]],
    ["a range inside another one is removed", ["10.1.0.0/16", "10.1.3.0/24"], ["0a010000", "0a020000 end"]],
    [
      "ranges with a gap stay separate",
      ["10.1.0.0/24", "10.1.2.0/24"],
      ["0a010000", "0a010100 end", "0a010200", "0a010300 end"],
    ],
    ["host bits are ignored", ["10.1.7.7/16"], ["0a010000", "0a020000 end"]],
    ["a range up to the last address has no end", ["255.255.255.0/24"], ["ffffff00"]],
    ["the range of all addresses has a start only", ["0.0.0.0/0"], ["00000000"]],
    ["no ranges give no elements", [], []],
  ])("%s", (_, texts, expected) => {
    expect(ends(prefixes(4, ...texts))).toEqual(expected);
  });

  test("an IPv6 range up to the last address has no end", () => {
    expect(ends(prefixes(6, "ff00::/8"))).toEqual([`ff${"00".repeat(15)}`]);
    expect(ends(prefixes(6, "fe00::/8"))).toEqual([`fe${"00".repeat(15)}`, `ff${"00".repeat(15)} end`]);
  });

  test("merged ranges contain the same addresses, are sorted and do not touch", () => {
    const somePrefix = tuple(integer({ min: 0, max: 255 }), integer({ min: 24, max: 32 })).map(([low, length]) =>
      parsePrefix(`192.0.2.${low}/${length}`),
    );
    return assert(
      property(arrayOf(somePrefix, { maxLength: 8 }), (list) => {
        const merged = mergeRanges(list);
        merged.forEach((range, index) => {
          expect(index === 0 || range.first > (merged[index - 1]?.last ?? 0n) + 1n).toBe(true);
        });
        for (let low = 0; low < 256; low++) {
          const address = parseAddress(`192.0.2.${low}`);
          const isMerged = merged.some(({ first, last }) => first <= address.value && address.value <= last);
          expect(isMerged).toBe(list.some((prefix) => contains(prefix, address)));
        }
      }),
      { numRuns: runs(30, 300) },
    );
  });
});

describe("pairs", () => {
  test("a pair covers one source and all destinations of the prefix", () => {
    const [element] = wireElements(pair("10.1.0.2", "10.1.0.0/24"));
    expect([hex(element?.key?.value), hex(element?.keyEnd?.value)]).toEqual(["0a0100020a010000", "0a0100020a0100ff"]);
  });

  test.each([
    ["10.1.0.2", "10.1.0.0/24"],
    ["10.1.0.2", "0.0.0.0/0"],
    ["10.1.0.2", "10.1.0.2/32"],
    ["fd00::2", "fd00::/64"],
    ["fd00::2", "::/0"],
  ])("parses %s . %s back", (source, destination) => {
    const read = wireElements(pair(source, destination, "mark")).map(readPair)[0];
    if (read === undefined) throw new Error("not read");
    expect([formatAddress(read.source), formatPrefix(read.destination), read.comment]).toEqual([
      source,
      destination,
      "mark",
    ]);
  });

  test("returns undefined for destinations that are not a prefix", () => {
    const key = Uint8Array.of(10, 1, 0, 2, 10, 1, 0, 1);
    expect(readPair({ key: { value: key }, keyEnd: { value: Uint8Array.of(10, 1, 0, 2, 10, 1, 0, 2) } })).toBe(
      undefined,
    );
    expect(readPair({ key: { value: key } })).toBe(undefined);
    expect(readPair({})).toBe(undefined);
  });

  test("the key is a concatenation and states the lengths of its fields", () => {
    expect(keyAttributes(pair("10.1.0.2", "10.1.0.0/24"))).toEqual({
      flags: 0x84,
      keyType: 0x1c7,
      keyLength: 8,
      description: { concat: [{ length: 4 }, { length: 4 }] },
    });
    expect(keyAttributes(pair("fd00::2", "fd00::/64"))).toMatchObject({ keyType: 0x208, keyLength: 32 });
  });
});

test("parses an element's comment back, and ignores keys of other types", () => {
  const set: NftSet = {
    ...named,
    kind: "addresses",
    family: 4,
    elements: [{ address: parseAddress("10.1.0.2"), comment: "mark" }],
  };
  expect(wireElements(set).map(readElement)).toEqual([{ source: parseAddress("10.1.0.2"), comment: "mark" }]);
  expect(readElement({ key: { value: new Uint8Array(2) } })).toBe(undefined);
});

test("the text lists only the first elements of a long set", () => {
  const many = Array.from({ length: 20 }, (_, index) => `10.${index}.0.0/24`);
  expect(elementsText(prefixes(4, "10.0.0.0/24", "10.1.0.0/24"))).toBe("{ 10.0.0.0/24, 10.1.0.0/24 }");
  expect(elementsText(prefixes(4, ...many))).toMatch(/10\.15\.0\.0\/24 and 4 more }$/);
});

describe("tuples", () => {
  const pods: TupleSet = {
    ...named,
    kind: "tuples",
    fields: ["ifname", "ipv4_addr"],
    elements: [{ values: ["cni0", parseAddress("10.1.0.2")], comment: "mark" }],
  };

  test("a key is the concatenation of its fields, with names padded with NUL", () => {
    const [element] = wireElements(pods);
    expect(element?.key?.value).toEqual(Uint8Array.of(99, 110, 105, 48, ...new Uint8Array(12), 10, 1, 0, 2));
    expect(keyAttributes(pods)).toEqual({ flags: 0, keyType: (41 << 6) | 7, keyLength: 20 });
    expect(keyText(pods)).toBe("type ifname . ipv4_addr;");
    expect(elementsText(pods)).toBe('{ "cni0" . 10.1.0.2 comment "mark" }');
  });

  test("parses an element back, and ignores keys of other types", () => {
    expect(wireElements(pods).map((element) => readTuple(pods, element))).toEqual(pods.elements);
    expect(readTuple({ fields: ["ifname"] }, wireElements(pods)[0] ?? {})).toBe(undefined);
    expect(readTuple({ fields: ["ifname"] }, {})).toBe(undefined);
  });

  test("throws for values of another type", () => {
    const wrong = (...values: TupleSet["elements"][number]["values"]) =>
      wireElements({ ...pods, elements: [{ values }] });
    expect(() => wrong("cni0", parseAddress("fd00::2"))).toThrow(/ipv4_addr: 16 bytes/);
    expect(() => wrong("a-name-of-16-lets", parseAddress("10.1.0.2"))).toThrow(/at most 15 bytes/);
  });
});

describe("maps", () => {
  const ports: TupleSet = {
    ...named,
    kind: "tuples",
    fields: ["inet_proto", "inet_service"],
    data: ["ipv6_addr", "inet_service"],
    elements: [{ values: [17, 8080], data: [parseAddress("fd00::2"), 80], comment: "mark" }],
  };
  const sources: TupleSet = {
    ...named,
    kind: "tuples",
    fields: ["inet_service", "ipv4_addr"],
    hasRanges: true,
    data: "verdict",
    elements: [{ values: [8080, parsePrefix("10.1.0.0/16")], data: { jump: "c" } }],
  };

  test("pads fields of keys and data to registers", () => {
    const [element] = wireElements(ports);
    expect(hex(element?.key?.value)).toBe("110000001f900000");
    expect(hex(element?.data?.value)).toBe(`fd00${"00".repeat(13)}0200500000`);
    expect(keyAttributes(ports)).toEqual({
      ...{ flags: 8, keyType: (12 << 6) | 13, keyLength: 8 },
      ...{ dataType: (8 << 6) | 13, dataLength: 20 },
    });
    expect(keyText(ports)).toBe("type inet_proto . inet_service : ipv6_addr . inet_service;");
    expect(elementsText(ports)).toBe('{ udp . 8080 comment "mark" : fd00::2 . 80 }');
  });

  test("does not pad a single field", () => {
    const [element] = wireElements({
      ...named,
      kind: "tuples",
      fields: ["inet_service"],
      elements: [{ values: [80] }],
    });
    expect(hex(element?.key?.value)).toBe("0050");
  });

  test("encodes prefixes in keys as ranges, and verdicts as jumps", () => {
    const [element] = wireElements(sources);
    expect([hex(element?.key?.value), hex(element?.keyEnd?.value)]).toEqual(["1f9000000a010000", "1f9000000a01ffff"]);
    expect(element?.data).toEqual({ verdict: { code: 2 ** 32 - 3, chain: "c" } });
    expect(keyAttributes(sources)).toMatchObject({
      flags: 0x8c,
      dataType: 0xffffff00,
      description: { concat: [{ length: 2 }, { length: 4 }] },
    });
    expect(elementsText(sources)).toBe("{ 8080 . 10.1.0.0/16 : jump c }");
  });

  test("parses elements back, and ignores data of other types", () => {
    for (const map of [ports, sources]) {
      expect(wireElements(map).map((element) => readTuple(map, element))).toEqual(map.elements);
    }
    const [element = {}] = wireElements(ports);
    expect(readTuple({ fields: ports.fields, data: "verdict" }, element)).toBe(undefined);
    expect(readTuple({ fields: ports.fields, data: ["ipv4_addr"] }, element)).toBe(undefined);
    expect(readTuple(ports, { ...element, data: undefined })).toBe(undefined);
  });

  test("throws for other data in a verdict map", () => {
    expect(() => wireElements({ ...sources, elements: [{ values: [1, parsePrefix("::/0")] }] })).toThrow(RangeError);
    const elements = [{ values: [1, parsePrefix("10.0.0.0/8")], data: [1] }];
    expect(() => wireElements({ ...sources, elements })).toThrow(/must be a verdict/);
  });
});
