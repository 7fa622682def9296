import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  attribute,
  attributes,
  be16,
  bytes,
  CodecError,
  cstring,
  encode,
  flag,
  i32,
  list,
  nest,
  struct,
  u8,
  u16,
  u32,
  variant,
} from "./codec.ts";

const hex = (value: Uint8Array) => Buffer.from(value).toString("hex");
const raw = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));

describe("scalars", () => {
  test.each([
    ["u8", u8, 0xab, "ab"],
    ["u16", u16, 0x1234, "3412"],
    ["u32", u32, 0x12345678, "78563412"],
    ["i32", i32, -2, "feffffff"],
    ["be16", be16, 8472, "2118"],
  ] as const)("%s uses its byte order", (_name, codec, value, expected) => {
    expect(hex(encode(codec, value))).toBe(expected);
    expect(codec.read(raw(expected))).toBe(value);
  });

  test("throws if a scalar has too few bytes", () => {
    expect(() => u32.read(raw("0102"))).toThrow(CodecError);
  });
});

test("text ends at NUL; reads text without NUL too", () => {
  expect(hex(encode(cstring, "eth0"))).toBe("6574683000");
  expect(cstring.read(raw("657468300000"))).toBe("eth0");
  expect(cstring.read(raw("65746830"))).toBe("eth0");
});

const header = struct({ family: u8, padding: u8, type: u16, index: i32 });
const table = attributes({
  name: attribute(3, "T_NAME", cstring),
  mtu: attribute(4, "T_MTU", u32),
  present: attribute(5, "T_PRESENT", flag),
  inner: attribute(18, "T_INNER", nest(attributes({ port: attribute(15, "T_PORT", be16) }))),
});

describe("structs", () => {
  test("writes omitted fields as zero", () => {
    expect(hex(encode(header, { index: 7 } as never))).toBe("0000000007000000");
  });
  test("throws if a struct is too short, and says the size it needs", () => {
    expect(() => header.read(raw("00"))).toThrow("1 bytes, expected 8");
  });
});

describe("attributes", () => {
  test("have length, type and padding; nests have their flag", () => {
    expect(hex(encode(table, { name: "a", inner: { port: 1 } }))).toBe(
      ["06000300", "61000000", "0c001280", "06000f00", "00010000"].join(""),
    );
  });

  test("that are not in the table are kept by decoding and encoding", () => {
    const wire = raw("0800 0400 dc050000 0800 6300 01020304");
    const value = table.read(wire);
    expect(value).toEqual({ mtu: 1500, unknown: [{ type: 0x63, bytes: raw("01020304") }] });
    expect(hex(encode(table, value))).toBe(hex(wire));
  });

  test.each([
    ["a length below the header's", "0300 0400"],
    ["a length beyond the end", "0900 0400 00000000"],
  ])("throws on %s", (_name, wire) => {
    expect(() => table.read(raw(wire))).toThrow(CodecError);
  });

  test("errors contain the path of the field", () => {
    expect(() => table.read(raw("0900 1280 0500 0f00 01 000000"))).toThrow(/^T_INNER\.T_PORT: 1 bytes, expected 2/);
  });

  test("throws if an attribute is too long for nla_len", () => {
    expect(() => encode(attributes({ big: attribute(1, "BIG", bytes) }), { big: new Uint8Array(70_000) })).toThrow(
      /nla_len/,
    );
  });
});

test("lists keep the order of their elements", () => {
  const codec = list(1, nest(attributes({ n: attribute(1, "N", u32) })));
  expect(codec.read(encode(codec, [{ n: 3 }, { n: 1 }]))).toEqual([{ n: 3 }, { n: 1 }]);
});

describe("variants", () => {
  const codec = variant({ type: 1, identifier: "KIND" }, { type: 2, identifier: "DATA" }, { veth: table });
  test("select the payload's table by kind", () => {
    const value = { kind: "veth", data: { mtu: 9000 } } as const;
    expect(codec.read(encode(codec, value))).toEqual(value);
  });
  test("keep the payload of an unknown kind as bytes", () => {
    expect(codec.read(raw("0800 0100 74756e00 0600 0280 abcd 0000"))).toEqual({ kind: "tun", data: raw("abcd") });
  });
});

test("decoding any bytes returns a value or throws CodecError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (wire) => {
      try {
        const value = table.read(wire);
        expect(table.read(encode(table, value))).toEqual(value);
      } catch (error) {
        expect(error).toBeInstanceOf(CodecError);
      }
    }),
  );
});
