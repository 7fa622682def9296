import { expect, test } from "vitest";
import { CONNECT_MS, type Server, ServerRing, serverUrl } from "./servers.ts";

const [A, B, C] = ["a", "b", "c"].map((name): Server => ({ url: `https://${name}`, origin: "known" })) as [
  Server,
  Server,
  Server,
];

test("uses the preferred server until it fails", () => {
  const ring = new ServerRing();
  expect(ring.pick([A, B])).toBe(A);
  ring.answered(A);
  expect(ring.pick([A, B])).toBe(A);
});

test("moves around the ring on failures and keeps a server that works", () => {
  const ring = new ServerRing();
  for (const server of [A, B, C]) {
    expect(ring.pick([A, B, C])).toBe(server);
    ring.failed(server);
  }
  expect(ring.pick([A, B, C])).toBe(A);
  ring.failed(A);
  ring.answered(B);
  expect(ring.pick([A, B, C])).toBe(B);
});

test("two requests that fail at one server skip only one server", () => {
  const ring = new ServerRing();
  ring.pick([A, B, C]);
  ring.failed(A);
  ring.failed(A);
  expect(ring.pick([A, B, C])).toBe(B);
});

test("returns to the preferred server if the current one is no longer listed", () => {
  const ring = new ServerRing();
  ring.pick([A, B]);
  ring.failed(A);
  expect(ring.pick([A, B])).toBe(B);
  expect(ring.pick([C, A])).toBe(C);
});

test("reports a server only if it differs from the previous one", () => {
  const used: Server[] = [];
  const ring = new ServerRing((server) => used.push(server));
  ring.pick([A, B]);
  ring.answered(A);
  ring.answered(A);
  ring.failed(A);
  ring.answered(B);
  expect(used).toEqual([A, B]);
});

test("has no connect limit with one server; doubles the limit after each failed round", () => {
  const ring = new ServerRing();
  ring.pick([A]);
  expect(ring.connectLimitMs).toBeUndefined();
  const limits: (number | undefined)[] = [];
  for (let round = 0; round < 6; round++) {
    limits.push(ring.connectLimitMs ?? 0);
    for (const server of [A, B]) {
      ring.pick([A, B]);
      ring.failed(server);
    }
  }
  expect(limits).toEqual([0, 2, 4, 8, 15, 15].map((times) => times * CONNECT_MS));
  ring.answered(A);
  expect(ring.connectLimitMs).toBe(CONNECT_MS);
});

test.each([
  ["https://192.0.2.1:6443", "https://192.0.2.1:6443"],
  ["https://[2001:db8::1]:443/", "https://[2001:db8::1]"],
  ["https://rancher.example/k8s/clusters/c-1/", "https://rancher.example/k8s/clusters/c-1"],
])("normalises %s to %s", (text, url) => {
  expect(serverUrl(text)).toBe(url);
});
