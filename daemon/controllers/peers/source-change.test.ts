import { expect, test } from "vitest";
import { formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import { parsePrefix } from "../../../pkg/ip/prefix.ts";
import type { LinkAddress } from "../../../pkg/kernel/address.ts";
import type { Link } from "../../../pkg/kernel/link.ts";
import { RT_SCOPE } from "../../../pkg/netlink/route.ts";
import { SETTLE_MS, SourceChange } from "./source-change.ts";
import type { UnderlayChoice } from "./underlay.ts";

const OLD = "192.0.2.1";
const NEW = "192.0.2.101";

const choice = (address: string, index = 2): UnderlayChoice => {
  const local = parseAddress(address);
  return { link: { index } as Link, ipv4: { local, announced: local }, ipv6: undefined, reason: "a test" };
};
const held = (...addresses: string[]): LinkAddress[] =>
  addresses.map((one) => ({
    ...{ index: 2, prefix: parsePrefix(`${one}/24`), scope: RT_SCOPE.universe, isTentative: false, isDuplicate: false },
  }));
const told = ({ ipv4 }: UnderlayChoice) =>
  ipv4 && `${formatAddress(ipv4.local)} announced as ${formatAddress(ipv4.announced)}`;

test("the new address is announced at once, and used when peers know it", () => {
  const change = new SourceChange();
  expect(told(change.settle(choice(OLD), held(OLD), 0))).toBe(`${OLD} announced as ${OLD}`);
  expect(change.nextMs(0)).toBeUndefined();
  expect(told(change.settle(choice(NEW), held(OLD, NEW), 10))).toBe(`${OLD} announced as ${NEW}`);
  expect(told(change.settle(choice(NEW), held(OLD, NEW), 9 + SETTLE_MS))).toBe(`${OLD} announced as ${NEW}`);
  expect(change.nextMs(9 + SETTLE_MS)).toBe(1);
  expect(told(change.settle(choice(NEW), held(OLD, NEW), 10 + SETTLE_MS))).toBe(`${NEW} announced as ${NEW}`);
  expect(change.nextMs(10 + SETTLE_MS)).toBeUndefined();
});

test("a removed address is not used any more", () => {
  const change = new SourceChange();
  change.settle(choice(OLD), held(OLD), 0);
  change.settle(choice(NEW), held(OLD, NEW), 10);
  expect(told(change.settle(choice(NEW), held(NEW), 20))).toBe(`${NEW} announced as ${NEW}`);
});

test("on another interface the new address is used at once", () => {
  const change = new SourceChange();
  change.settle(choice(OLD), held(OLD), 0);
  expect(told(change.settle(choice(NEW, 3), held(OLD, NEW), 10))).toBe(`${NEW} announced as ${NEW}`);
});

test("a reverted change has no effect", () => {
  const change = new SourceChange();
  change.settle(choice(OLD), held(OLD), 0);
  change.settle(choice(NEW), held(OLD, NEW), 10);
  expect(told(change.settle(choice(OLD), held(OLD, NEW), 20))).toBe(`${OLD} announced as ${OLD}`);
  expect(change.nextMs(20)).toBeUndefined();
});
