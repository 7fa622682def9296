import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AddressError } from "./address.ts";
import { formatMac, parseMac } from "./mac.ts";

describe("MAC text", () => {
  test.each(["0a:58:0a:f4:00:02", "0A:58:0A:F4:00:02", "0a-58-0a-f4-00-02", "0a58.0af4.0002"])("parses %s", (text) => {
    expect(formatMac(parseMac(text))).toBe("0a:58:0a:f4:00:02");
  });

  test.each([
    "",
    "0a:58:0a:f4:00",
    "0a:58:0a:f4:00:02:03",
    "0a:58:0a:f4:00:0g",
    "0a:58-0a:f4:00:02",
    "a:58:0a:f4:00:02",
  ])("refuses %j", (text) => {
    expect(() => parseMac(text)).toThrow(AddressError);
    expect(() => parseMac(text)).toThrow("expected six bytes");
  });

  test("any six bytes are the same after formatting and parsing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
        expect([...parseMac(formatMac(bytes))]).toEqual([...bytes]);
      }),
    );
  });
});
