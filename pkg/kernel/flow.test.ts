import { expect, test } from "vitest";
import { addressToBytes, formatAddress, parseAddress } from "../ip/address.ts";
import { addressBytesKey, Flow } from "./flow.ts";
import { flowMessage } from "./flow-message.ts";

const [A, B, VIP] = ["10.244.1.2", "10.244.1.3", "10.96.0.1"].map(parseAddress) as [never, never, never];
const [A6, B6] = ["fd00::2", "fd00::3"].map(parseAddress) as [never, never];

test("reads the source before and the destination after translation", () => {
  const flow = Flow.read(flowMessage({ from: A, original: VIP, to: B, port: 8080, startedMs: 1_796_000_000_123 }));
  expect(flow && [formatAddress(flow.from), formatAddress(flow.to), flow.protocol, flow.port]).toEqual([
    ...["10.244.1.2", "10.244.1.3", 6, 8080],
  ]);
  expect(flow?.startedMs).toBeCloseTo(1_796_000_000_123, 2);
  expect(flow?.isExpected).toBe(false);
  expect(flow?.fromKey).toBe(addressBytesKey(addressToBytes(A)));
  expect(flow?.toKey).toBe(addressBytesKey(addressToBytes(B)));
});

test("reads IPv6, protocols without ports, expected flows, and flows without a time", () => {
  const flow = Flow.read(flowMessage({ from: A6, to: B6, protocol: 58, status: 0x19f }));
  expect(flow && [formatAddress(flow.from), formatAddress(flow.to), flow.protocol, flow.port]).toEqual([
    ...["fd00::2", "fd00::3", 58, 0],
  ]);
  expect([flow?.isExpected, flow?.startedMs]).toEqual([true, undefined]);
});

test("keys of flows are equal if and only if they differ at most in their source port", () => {
  const key = (change: object) => Flow.read(flowMessage({ from: A, to: B, ...change }))?.key;
  expect(key({ fromPort: 1, id: 9 })).toBe(key({ fromPort: 2, status: 8, startedMs: 5, original: VIP }));
  const keys = [{}, { port: 81 }, { protocol: 17 }, { from: B }, { to: A }, { from: A6, to: B6 }].map(key);
  expect(new Set(keys).size).toBe(keys.length);
});

test("a message that is cut off is not a flow", () => {
  const message = flowMessage({ from: A, to: B });
  for (const length of [0, 4, 20, 60])
    expect(Flow.read({ ...message, payload: message.payload.subarray(0, length) })).toBeUndefined();
});

test("a connection that is tracked from its middle on goes from the client to the server, by its ports", () => {
  const ends = (change: object) => {
    const flow = Flow.read(flowMessage({ from: A, to: B, ...change }));
    return flow && [formatAddress(flow.from), flow.sourcePort, formatAddress(flow.to), flow.port];
  };
  const [client, server] = [
    { fromPort: 40_000, port: 80 },
    { fromPort: 80, port: 40_000 },
  ];
  expect(ends({ ...client, isPickedUp: true })).toEqual(["10.244.1.2", 40_000, "10.244.1.3", 80]);
  expect(ends({ ...server, isPickedUp: true })).toEqual(["10.244.1.3", 40_000, "10.244.1.2", 80]);
  // The kernel has seen the beginning of this one.
  expect(ends(server)).toEqual(["10.244.1.2", 80, "10.244.1.3", 40_000]);
  for (const port of [80, 40_000])
    expect(ends({ fromPort: port, port, isPickedUp: true })).toEqual(["10.244.1.2", port, "10.244.1.3", port]);
});
