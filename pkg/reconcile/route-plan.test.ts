import { expect, test } from "vitest";
import { RTPROT_WEFT } from "../footprint.ts";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { ObservedRoute, Route } from "../kernel/route.ts";
import { planRoutes } from "./route-plan.ts";

const onlink = (subnet: string, gateway: string, outputIndex: number): Route => ({
  ...{ destination: parsePrefix(subnet), gateway: parseAddress(gateway), outputIndex },
  ...{ protocol: RTPROT_WEFT, isOnlink: true },
});

function held(subnet: string, gateway: string | undefined, outputIndex: number, more: object = {}): ObservedRoute {
  const destination = parsePrefix(subnet);
  return {
    ...{ destination, gateway: gateway === undefined ? undefined : parseAddress(gateway), outputIndex },
    ...{ protocol: RTPROT_WEFT, table: 254, scope: 0, type: 1, isMultipath: false, isOnlink: false },
    priority: destination.address.family === 6 ? 1024 : undefined,
    ...more,
  };
}

const texts = (wanted: Route, observed: readonly ObservedRoute[]) => {
  const { add, remove } = planRoutes([wanted], observed, new Set([7]));
  return [...add, ...remove].map(({ text }) => text);
};

const wanted6 = onlink("fd00:10:244:2::/64", "fd00:10:244:2::", 7);
const HOST = "fd00:10:244:2::/128 dev index 7 proto 119";

test("replaces an IPv4 route that changes its device in one step", () => {
  expect(texts(onlink("10.244.2.0/24", "10.244.2.0", 7), [held("10.244.2.0/24", "192.0.2.2", 2)])).toEqual([
    "ip route replace 10.244.2.0/24 via 10.244.2.0 dev index 7 onlink proto 119",
  ]);
});

test("adds a temporary route to the gateway for an IPv6 route that changes its device", () => {
  expect(texts(wanted6, [held("fd00:10:244:2::/64", "2001:db8::2", 2)])).toEqual([
    `ip route replace ${HOST}`,
    "ip route replace fd00:10:244:2::/64 via fd00:10:244:2:: dev index 7 onlink proto 119",
    `ip route del ${HOST}`,
  ]);
});

test("also adds it for a new route whose gateway another program's wider route covers, and for no other", () => {
  const wide = held("fd00:10:244::/48", undefined, 2, { protocol: 4 });
  expect(texts(wanted6, [wide])).toHaveLength(3);
  expect(texts(wanted6, [])).toHaveLength(1);
  expect(texts(wanted6, [held("::/0", "fe80::1", 2, { protocol: 9 })])).toHaveLength(1);
});

test("removes the route to a gateway that a killed program left", () => {
  const route = held("fd00:10:244:2::/64", "fd00:10:244:2::", 7, { isOnlink: true });
  expect(texts(wanted6, [route, held("fd00:10:244:2::/128", undefined, 7)])).toEqual([
    "ip route del fd00:10:244:2::/128 dev index 7 proto 119 metric 1024",
  ]);
});

test("does not remove routes to this node's pods", () => {
  const wanted = onlink("10.244.2.0/24", "10.244.2.0", 7);
  const standing = held("10.244.2.0/24", "10.244.2.0", 7, { isOnlink: true });
  expect(texts(wanted, [standing, held("10.244.9.7/32", undefined, 5)])).toEqual([]);
  expect(texts(wanted, [standing, held("10.244.9.7/32", undefined, 7), held("10.244.8.0/24", undefined, 5)])).toEqual([
    "ip route del 10.244.9.7/32 dev index 7 proto 119",
    "ip route del 10.244.8.0/24 dev index 5 proto 119",
  ]);
});
