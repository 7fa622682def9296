import { describe, expect, test } from "vitest";
import { parseAddress } from "../../ip/address.ts";
import { endpointBytes } from "./bytes.ts";
import { affinityId, endpointToken, jhash } from "./token.ts";

describe("jhash", () => {
  const hash = (text: string, seed: number) => jhash((at) => text.charCodeAt(at), text.length, seed);

  // The reference values in driver5() of lookup3.c (Bob Jenkins, public domain).
  test.each([
    ["", 0, 0xdead_beef],
    ["", 0xdead_beef, 0xbd5b_7dde],
    ["Four score and seven years ago", 0, 0x1777_0551],
    ["Four score and seven years ago", 1, 0xcd62_8161],
  ])("of %j with seed %i equals the author's", (text, seed, expected) => {
    expect(hash(text, seed)).toBe(expected);
  });
});

describe("numbers of affinity", () => {
  const tokens = ["10.244.1.1", "10.244.1.2", "fd00:1::1"].map((address) =>
    endpointToken(endpointBytes({ address: parseAddress(address), port: 8080 })),
  );
  const ids = ["default/web:http/6", "default/web:https/6"].map(affinityId);

  test("tokens and ids are disjoint", () => {
    for (const token of tokens) expect(token).toBeGreaterThanOrEqual(0x8000_0000);
    for (const id of ids) expect(id).toBeLessThan(0x4000_0000);
  });

  test("differ", () => {
    expect(new Set([...tokens, ...ids]).size).toBe(5);
  });
});
