/**
 * Runs in a node's namespace: the compiler and the program of policies as in weftd, on the event loop's netlink socket,
 * and the server of the policy socket. Answers orders, one JSON object a line.
 */
import { createInterface } from "node:readline";
import { FormerFlows } from "../../../daemon/controllers/former-flows/former-flows.ts";
import { AttachServer } from "../../../daemon/controllers/policy/attach-server.ts";
import type { AttachedPod, PodInstaller } from "../../../daemon/controllers/policy/pod-installer.ts";
import { answeredBy } from "../../../daemon/core/drivers/ruleset.ts";
import { openLog } from "../../../daemon/core/log.ts";
import { SYSTEM_CLOCK } from "../../../pkg/cluster/clock.ts";
import { parsePrefix } from "../../../pkg/ip/prefix.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { NETLINK_NETFILTER } from "../../../pkg/netlink/message.ts";
import { NftablesPolicies } from "../../../pkg/policy/nftables/nftables-policies.ts";
import { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import type { Transaction } from "../../../pkg/policy/program.ts";
import { PolicyTables } from "../../../pkg/policy/tables.ts";
import { openEventNetlink } from "../../../pkg/sys/node-netlink.ts";
import { type MeasuredPods, putMeasuredPods } from "./measured-pods.ts";
import { NODE, type Population, type PopulationSize, populate } from "./population.ts";

/**
 * `cold`: from an empty kernel; `measured`: pods in addition to the population. `restart`: a new program on a complete
 * table. `relabel`: changes the labels of one pod, `count` times. `serve`: listens on the policy socket. `detach`:
 * removes the addresses that requests have added, and cleans them as weftd does in the background after a pod's end.
 */
export type Order =
  | { readonly do: "cold"; readonly size: PopulationSize; readonly measured?: MeasuredPods }
  | { readonly do: "restart" }
  | { readonly do: "relabel"; readonly count: number; readonly pods: "any" | "local" }
  | { readonly do: "serve"; readonly path: string }
  | { readonly do: "detach" };

export interface Programmed {
  /** From parsed objects to the first transaction. */
  readonly compileMs: number;
  /** From objects to the last commit. */
  readonly ms: number;
  readonly transactions: number;
  readonly longestMs: number;
  readonly profiles: number;
  readonly identities: number;
}

export interface Relabelled {
  /** The time of each change, from the object to the commit. */
  readonly ms: readonly number[];
  readonly transactions: number;
}

const SETTINGS = { isAudit: false, hasLog: true };
const open = () => new EventedNetlink(openEventNetlink(NETLINK_NETFILTER), "the node", SYSTEM_CLOCK);
const netlink = open();
let size: PopulationSize = { policies: 0, pods: 0, local: 0 };
let population: Population = populate(size);
let map = new PolicyMap(NODE);
let tables = new PolicyTables();
let program = new NftablesPolicies();
let relabels = 0;
const attached = new Set<string>();
/** weftd regards an attachment as ended only after seconds. */
const AGE_MS = 10_000;
let flows: FormerFlows | undefined;
let extraMs = 0;

async function commit(transactions: readonly Transaction[]): Promise<number> {
  let longestMs = 0;
  for (const transaction of transactions) {
    const start = performance.now();
    await netlink.commit(transaction);
    longestMs = Math.max(longestMs, performance.now() - start);
  }
  return longestMs;
}

/** Programs what has changed in the map. Returns the number of transactions. */
async function programChanges(): Promise<number> {
  const changes = map.changes();
  for (const change of changes) tables.apply(change);
  const transactions = program.change(changes);
  await commit(transactions);
  return transactions.length;
}

async function compare(start: number): Promise<Programmed> {
  const compiled = performance.now();
  const transactions = await answeredBy(netlink, program.compare(tables, SETTINGS));
  const longestMs = await commit(transactions);
  const { profiles, identities } = map.counts();
  return {
    ...{ compileMs: compiled - start, ms: performance.now() - start, transactions: transactions.length },
    ...{ longestMs, profiles, identities },
  };
}

const installer: PodInstaller = {
  knows: ({ key, uid }) => map.hasPod(key, uid),
  awaitPod: () => Promise.reject(new Error("no watch")),
  readPod: () => Promise.reject(new Error("no API server")),
  async install({ key, uid, addresses }: AttachedPod) {
    map.attach(key, uid, addresses);
    attached.add(key);
    await programChanges();
    return { isIsolated: true };
  },
};

/** The subnets of ADDs (`adds.ts`). */
const SUBNETS = ["10.22.0.0/16", "fd00:22::/64"].map(parsePrefix);

async function serve(path: string): Promise<void> {
  const log = openLog("error", NODE);
  const clock = { nowMs: () => SYSTEM_CLOCK.nowMs() + extraMs };
  flows = new FormerFlows({ connections: open(), clock, log });
  await flows.survey(SUBNETS, []);
  await new AttachServer({ path, installer, flows, clock: SYSTEM_CLOCK, log }).start();
}

async function relabel(count: number, pods: "any" | "local"): Promise<Relabelled> {
  const ms: number[] = [];
  let transactions = 0;
  for (let done = 0; done < count; done++) {
    // A large step, so that successive changes are in different namespaces.
    const step = relabels * 7919;
    const pod = pods === "any" ? step % size.pods : (population.local[step % population.local.length] ?? 0);
    const start = performance.now();
    population.relabel(map, pod, relabels++ % 2 === 0 ? "db" : "api");
    transactions += await programChanges();
    ms.push(performance.now() - start);
  }
  return { ms, transactions };
}

async function carryOut(order: Order): Promise<Programmed | Relabelled | undefined> {
  switch (order.do) {
    case "cold": {
      await netlink.commit(program.removal());
      size = order.size;
      population = populate(size);
      [map, tables, program] = [new PolicyMap(NODE), new PolicyTables(), new NftablesPolicies()];
      const start = performance.now();
      population.fill(map);
      if (order.measured !== undefined) putMeasuredPods(map, order.measured);
      for (const change of map.changes()) tables.apply(change);
      return compare(start);
    }
    case "restart":
      program = new NftablesPolicies();
      return compare(performance.now());
    case "relabel":
      return relabel(order.count, order.pods);
    case "serve":
      await serve(order.path);
      return undefined;
    case "detach":
      for (const key of attached) map.detach(key);
      attached.clear();
      await programChanges();
      extraMs += AGE_MS;
      await flows?.compare(() => false);
      return undefined;
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
