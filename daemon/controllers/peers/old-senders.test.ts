import { expect, test } from "vitest";
import type { Address } from "../../../pkg/ip/address.ts";
import { formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import { LINGER_MS, OldSenders } from "./old-senders.ts";

const [first, second] = [parseAddress("192.0.2.1"), parseAddress("192.0.2.2")];

function bench() {
  const senders = new OldSenders();
  const at = (current: readonly Address[], ms: number) => senders.with(current, ms).map(formatAddress);
  return { senders, at };
}

test("a node's former address is accepted for a limited time", () => {
  const { senders, at } = bench();
  expect(at([first, second], 0)).toEqual(["192.0.2.1", "192.0.2.2"]);
  expect(senders.nextMs(0)).toBeUndefined();
  expect(at([second], 1000)).toEqual(["192.0.2.2", "192.0.2.1"]);
  expect(senders.nextMs(1000)).toBe(LINGER_MS);
  expect(at([second], 1000 + LINGER_MS - 1)).toContain("192.0.2.1");
  expect(at([second], 1000 + LINGER_MS)).toEqual(["192.0.2.2"]);
  expect(senders.nextMs(1000 + LINGER_MS)).toBeUndefined();
});

test("the time begins with the change, regardless of when the previous pass was", () => {
  const { at } = bench();
  at([first], 0);
  expect(at([second], 60_000)).toEqual(["192.0.2.2", "192.0.2.1"]);
  expect(at([second], 60_000 + LINGER_MS)).toEqual(["192.0.2.2"]);
});

test("an address that a node has again is current, and gets the full time when the node loses it", () => {
  const { senders, at } = bench();
  at([first], 0);
  at([], 1000);
  at([first], 2000);
  expect(senders.nextMs(2000)).toBeUndefined();
  expect(at([], 1000 + LINGER_MS)).toEqual(["192.0.2.1"]);
});
