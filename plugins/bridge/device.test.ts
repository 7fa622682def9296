import { expect, test } from "vitest";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import type { LinkAddress } from "../../pkg/kernel/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { NetlinkError } from "../../pkg/netlink/errors.ts";
import type { Request } from "../../pkg/netlink/message.ts";
import { applyGateways, planGateways } from "./device.ts";

const bridge = { index: 3, name: "cni0" } as Link;
const held = (...texts: string[]): LinkAddress[] =>
  texts.map((text) => ({ index: 3, prefix: parsePrefix(text), scope: 0, isTentative: false, isDuplicate: false }));
const plan = (have: LinkAddress[], want: string[], force = false) =>
  planGateways(bridge, have, want.map(parsePrefix), force).map(({ text }) => text);

test("an existing gateway needs no change", () => {
  expect(plan(held("10.22.0.1/24", "fe80::1/64"), ["10.22.0.1/24"])).toEqual([]);
});

test("adds gateways of both families", () => {
  expect(plan([], ["10.22.0.1/24", "fd00::1/64"])).toEqual([
    "ip address add 10.22.0.1/24 dev index 3",
    "ip address add fd00::1/64 dev index 3",
  ]);
});

test("accepts several gateways of one family", () => {
  expect(plan(held("10.22.0.1/24"), ["10.22.0.1/24", "10.23.0.1/24"])).toEqual([
    "ip address add 10.23.0.1/24 dev index 3",
  ]);
});

test("rejects another IPv4 gateway and says what to do", () => {
  expect(() => plan(held("10.22.0.1/24"), ["10.23.0.1/24"])).toThrow(
    '"cni0" already has an IP address different from 10.23.0.1/24: it has 10.22.0.1/24 (remove it with "ip address del 10.22.0.1/24 dev cni0"',
  );
});

test("rejects the same address with another length", () => {
  expect(() => plan(held("10.22.0.1/16"), ["10.22.0.1/24"])).toThrow(/different from/);
});

test("replaces the other gateway with forceAddress", () => {
  expect(plan(held("10.22.0.1/24"), ["10.23.0.1/24"], true)).toEqual([
    "ip address del 10.22.0.1/24 dev index 3",
    "ip address add 10.23.0.1/24 dev index 3",
  ]);
});

test("rejects another IPv6 gateway only if the networks overlap", () => {
  expect(plan(held("fd00:1::1/64"), ["fd00:2::1/64"])).toEqual(["ip address add fd00:2::1/64 dev index 3"]);
  expect(() => plan(held("fd00:1::1/48"), ["fd00:1::2/64"])).toThrow(/different from/);
});

test("ignores gateways that exist or are gone already, and fails if the bridge is gone", () => {
  const [request] = planGateways(bridge, [], [parsePrefix("10.22.0.1/24")], false) as [Request];
  const apply = (errno: number) => {
    const error = new NetlinkError(request, errno, undefined, "here");
    applyGateways({ exchange: () => [{ request, messages: [], error, interrupted: false }] } as never, [request]);
  };
  const [EEXIST, EADDRNOTAVAIL, ENODEV] = [17, 99, 19];
  expect(() => apply(EEXIST)).not.toThrow();
  expect(() => apply(EADDRNOTAVAIL)).not.toThrow();
  expect(() => apply(ENODEV)).toThrow(/10.22.0.1.*ENODEV/);
});
