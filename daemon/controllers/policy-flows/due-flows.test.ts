import { expect, test } from "vitest";
import { type Address, formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import type { PolicyChange } from "../../../pkg/policy/state.ts";
import { type DueAddresses, DueFlows } from "./due-flows.ts";

const peer = (address: Address): PolicyChange => ({ kind: "peer", address, identity: undefined });
const host = (value: number): Address => ({ family: 4, value: BigInt(0x0a000000 + value) });
const shown = (addresses: DueAddresses) => (addresses === "all" ? "all" : addresses.map(formatAddress));

test("collects changed addresses once each", () => {
  const due = new DueFlows();
  expect(due.isEmpty).toBe(true);
  due.addChanges([peer(host(1)), peer(host(2)), { kind: "blocks", number: 3, group: undefined }]);
  due.addChanges([peer(host(2))]);
  expect(due.isEmpty).toBe(false);
  expect(shown(due.take())).toEqual(["10.0.0.1", "10.0.0.2"]);
  expect(due.isEmpty).toBe(true);
  expect(shown(due.take())).toEqual([]);
});

test("so many addresses that all flows are cheaper become all, and stay all", () => {
  const due = new DueFlows();
  due.addChanges(Array.from({ length: 1001 }, (_, value) => peer(host(value))));
  due.addChanges([peer(parseAddress("fd00::1"))]);
  expect(shown(due.take())).toBe("all");
});

test("addresses for which a pass failed are due again, with those that were added meanwhile", () => {
  const due = new DueFlows();
  due.addChanges([peer(host(1))]);
  const failed = due.take();
  due.addChanges([peer(host(2))]);
  due.restore(failed);
  expect(shown(due.take())).toEqual(["10.0.0.2", "10.0.0.1"]);
  due.addAll();
  const all = due.take();
  due.addChanges([peer(host(3))]);
  due.restore(all);
  expect(shown(due.take())).toBe("all");
  due.addAll();
  due.restore(failed);
  expect(shown(due.take())).toBe("all");
});
