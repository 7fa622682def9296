/**
 * Runs in a node's namespace: the core and the mode of Services as in weftd, on the event loop's netlink socket.
 * Answers orders, one JSON object a line.
 */
import { createInterface } from "node:readline";
import { answeredBy } from "../../../daemon/core/drivers/ruleset.ts";
import { SYSTEM_CLOCK } from "../../../pkg/cluster/clock.ts";
import { parsePrefix } from "../../../pkg/ip/prefix.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { NETLINK_NETFILTER } from "../../../pkg/netlink/message.ts";
import type { Transaction } from "../../../pkg/services/mode.ts";
import { NftablesMode } from "../../../pkg/services/nftables/nftables-mode.ts";
import { ServiceMap } from "../../../pkg/services/service-map.ts";
import { openEventNetlink } from "../../../pkg/sys/node-netlink.ts";
import { nodeFacts } from "../../services/core-bed.ts";
import { benchService, benchSlices, CLUSTER_IPS, serviceKey } from "./population.ts";

/**
 * `cold`: from an empty kernel. `restart`: a new mode on a complete table. `flips`: removes an endpoint; the next flip
 * adds it again.
 */
export type Order =
  | { readonly do: "cold"; readonly services: number; readonly endpoints: number }
  | { readonly do: "restart" }
  | { readonly do: "flips"; readonly count: number };

export interface Programmed {
  readonly ms: number;
  readonly transactions: number;
  readonly longestMs: number;
}

export interface Flipped {
  /** The time of each flip, from the change of an EndpointSlice to the commit. */
  readonly ms: readonly number[];
}

const SETTINGS = {
  ...{ localPods: [parsePrefix("10.244.0.0/16")], serviceRanges: [parsePrefix(CLUSTER_IPS)] },
  ...{ masqueradeAll: false, masqueradeBit: 14 },
};
const netlink = new EventedNetlink(openEventNetlink(NETLINK_NETFILTER), "the node", SYSTEM_CLOCK);
let mode = new NftablesMode();
let map = new ServiceMap();
let [services, endpoints, flips] = [0, 0, 0];

async function commit(transactions: readonly Transaction[]): Promise<number> {
  let longestMs = 0;
  for (const transaction of transactions) {
    const start = performance.now();
    await netlink.commit(transaction);
    longestMs = Math.max(longestMs, performance.now() - start);
  }
  return longestMs;
}

async function compare(): Promise<Programmed> {
  const start = performance.now();
  const transactions = await answeredBy(netlink, mode.compare(map.frontends(), SETTINGS));
  const longestMs = await commit(transactions);
  return { ms: performance.now() - start, transactions: transactions.length, longestMs };
}

async function flip(): Promise<void> {
  // A large step, so that successive flips are in different Services.
  const number = (Math.floor(flips / 2) * 7919) % services;
  const isGoing = flips++ % 2 === 0;
  map.setSlices(serviceKey(number), benchSlices(number, endpoints, isGoing ? flips % endpoints : undefined));
  await commit(mode.change(map.changes()));
}

async function carryOut(order: Order): Promise<Programmed | Flipped> {
  switch (order.do) {
    case "cold":
      await netlink.commit(mode.removal());
      ({ services, endpoints } = order);
      [mode, map, flips] = [new NftablesMode(), new ServiceMap(), 0];
      map.setNode(nodeFacts());
      for (let number = 0; number < services; number++) {
        map.setService(serviceKey(number), benchService(number));
        map.setSlices(serviceKey(number), benchSlices(number, endpoints));
      }
      map.changes();
      return compare();
    case "restart":
      mode = new NftablesMode();
      return compare();
    case "flips": {
      const ms: number[] = [];
      for (let count = 0; count < order.count; count++) {
        const start = performance.now();
        await flip();
        ms.push(performance.now() - start);
      }
      return { ms };
    }
  }
}

let last: Promise<unknown> = Promise.resolve();
createInterface({ input: process.stdin })
  .on("line", (line) => {
    last = last
      .then(() => carryOut(JSON.parse(line) as Order))
      .then(
        (value) => console.log(JSON.stringify({ value })),
        (error: Error) => console.log(JSON.stringify({ error: error.stack ?? String(error) })),
      );
  })
  .on("close", () => process.exit(0));
