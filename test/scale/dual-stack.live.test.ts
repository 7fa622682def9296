/**
 * Two addresses of each of 5,000 peers in one nftables transaction, which is one datagram. It exceeds the default send
 * buffer of a socket (net.core.wmem_default), so the kernel rejects it (EMSGSIZE) unless weftd enlarges the buffer.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PATIENCE } from "../live/harness/process.ts";
import { ScaleBed } from "./bed.ts";

const PEERS = 5000;
/** An IPv4 and an IPv6 address as elements of sets (three times struct nlattr, and the address, each). */
const BYTES_PER_PEER = 16 + 28;

let bed: ScaleBed;
beforeAll(async () => {
  bed = await ScaleBed.make("dual");
  await bed.populate(PEERS);
}, 60_000 * PATIENCE);
afterAll(() => bed?.close());

test("a node joins 5,000 peers with two families over VXLAN", { timeout: 120_000 * PATIENCE }, async () => {
  const { nodes, sentMs } = await bed.join();
  expect(nodes).toBe(PEERS);
  expect(Number(readFileSync("/proc/sys/net/core/wmem_default", "utf8"))).toBeLessThan(PEERS * BYTES_PER_PEER);
  console.log(`${PEERS} peers, dual stack: ${sentMs} ms to program`);
});
