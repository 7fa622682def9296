import { expect, test } from "vitest";
import { formatAddress, parseAddress } from "../../pkg/ip/address.ts";
import { LINGER_MS, OldSenders } from "./old-senders.ts";

const [first, second] = [parseAddress("192.0.2.1"), parseAddress("192.0.2.2")];

test("an address that is a node's no more is taken for one for a while, and no longer", () => {
  const senders = new OldSenders();
  const at = (current: Parameters<OldSenders["with"]>[0], ms: number) => senders.with(current, ms).map(formatAddress);
  expect(at([first, second], 0)).toEqual(["192.0.2.1", "192.0.2.2"]);
  expect(senders.nextMs(0)).toBeUndefined();
  expect(at([second], 1000)).toEqual(["192.0.2.1", "192.0.2.2"]);
  expect(senders.nextMs(1000)).toBe(LINGER_MS - 1000);
  expect(at([second], LINGER_MS - 1)).toContain("192.0.2.1");
  expect(at([second], LINGER_MS)).toEqual(["192.0.2.2"]);
  expect(senders.nextMs(LINGER_MS)).toBeUndefined();
});
