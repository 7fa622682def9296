import { describe, expect, test } from "vitest";
import { addressToBytes, parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import { AF_INET, AF_INET6 } from "../netlink/link.ts";
import { type Message, query } from "../netlink/message.ts";
import { RTM_NEWROUTE } from "../netlink/route.ts";
import { addRoute, describeRoute, parseRoutes } from "./route.ts";

function defaultRoute(family: number, gateways: readonly string[]): Message {
  const multipath = gateways.map((gateway, at) => ({
    ...{ flags: 0, hops: 0, outputIndex: at + 2 },
    gateway: addressToBytes(parseAddress(gateway)),
  }));
  const { type, body } = query(RTM_NEWROUTE, "", { family, table: 254, protocol: 3, type: 1 }, { multipath });
  return { type, flags: 0, sequence: 1, portId: 0, payload: body };
}

test("parses an IPv4 route by an IPv6 gateway back as it was written", () => {
  const route = {
    ...{ destination: parsePrefix("10.244.2.0/24"), gateway: parseAddress("2001:db8::2") },
    ...{ outputIndex: 2, protocol: 119 },
  };
  const { type, body, text } = addRoute(route);
  expect(text).toBe("ip route add 10.244.2.0/24 via inet6 2001:db8::2 dev index 2 proto 119");
  const [read] = parseRoutes({ type, flags: 0, sequence: 1, portId: 0, payload: body });
  expect(read).toMatchObject(route);
});

describe("a route with several next hops", () => {
  test("parses an IPv6 route as one route per next hop", () => {
    const routes = parseRoutes(defaultRoute(AF_INET6, ["fd00:1::1", "fd00:2::1"]));
    expect(routes.map(describeRoute)).toEqual([
      "-6 default via fd00:1::1 dev index 2 proto 3",
      "-6 default via fd00:2::1 dev index 3 proto 3",
    ]);
    expect(routes.map(({ isMultipath }) => isMultipath)).toEqual([false, false]);
  });

  test("parses an IPv4 route as one route without a next hop", () => {
    const routes = parseRoutes(defaultRoute(AF_INET, ["10.0.0.1", "10.0.1.1"]));
    expect(routes.map(describeRoute)).toEqual(["default proto 3"]);
    expect(routes.map(({ isMultipath }) => isMultipath)).toEqual([true]);
  });

  test("throws if a next hop's length exceeds the attribute", () => {
    const message = defaultRoute(AF_INET6, ["fd00:1::1"]);
    const damaged = (length: number) => {
      const payload = message.payload.slice();
      payload[16] = length;
      return () => parseRoutes({ ...message, payload });
    };
    for (const length of [0, 7, 29]) expect(damaged(length)).toThrow(/RTM_NEWROUTE: .*next hop/);
  });
});
