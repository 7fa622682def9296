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

test("a gateway that is there already needs nothing", () => {
  expect(plan(held("10.22.0.1/24", "fe80::1/64"), ["10.22.0.1/24"])).toEqual([]);
});

test("gateways of both families are added", () => {
  expect(plan([], ["10.22.0.1/24", "fd00::1/64"])).toEqual([
    "ip address add 10.22.0.1/24 dev index 3",
    "ip address add fd00::1/64 dev index 3",
  ]);
});

test("several gateways of one family stand side by side", () => {
  expect(plan(held("10.22.0.1/24"), ["10.22.0.1/24", "10.23.0.1/24"])).toEqual([
    "ip address add 10.23.0.1/24 dev index 3",
  ]);
});

test("another IPv4 gateway is refused in words that say what to do", () => {
  expect(() => plan(held("10.22.0.1/24"), ["10.23.0.1/24"])).toThrow(
    '"cni0" already has an IP address different from 10.23.0.1/24: it has 10.22.0.1/24 (remove it with "ip address del 10.22.0.1/24 dev cni0"',
  );
});

test("the same address with another length is another gateway", () => {
  expect(() => plan(held("10.22.0.1/16"), ["10.22.0.1/24"])).toThrow(/different from/);
});

test("with forceAddress the other one is replaced", () => {
  expect(plan(held("10.22.0.1/24"), ["10.23.0.1/24"], true)).toEqual([
    "ip address del 10.22.0.1/24 dev index 3",
    "ip address add 10.23.0.1/24 dev index 3",
  ]);
});

test("IPv6 gateways stand in each other's way only where their networks overlap", () => {
  expect(plan(held("fd00:1::1/64"), ["fd00:2::1/64"])).toEqual(["ip address add fd00:2::1/64 dev index 3"]);
  expect(() => plan(held("fd00:1::1/48"), ["fd00:1::2/64"])).toThrow(/different from/);
});

test("a gateway that is there already or gone already is no failure, a bridge that is gone is one", () => {
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
