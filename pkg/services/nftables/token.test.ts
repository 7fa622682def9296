import { describe, expect, test } from "vitest";
import { parseAddress } from "../../ip/address.ts";
import { endpointBytes } from "./bytes.ts";
import { affinityId, endpointToken } from "./token.ts";

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
