/** Helpers for tests. */
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import { type Address, formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import { RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import type { Frontend, FrontendChange, NodeSettings } from "../../../pkg/services/frontend.ts";
import { ServiceMap } from "../../../pkg/services/service-map.ts";
import type { Repairs, SentTransactions } from "../../core/drivers/table-programmer.ts";
import { Health } from "../../core/health.ts";
import { openLog } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Runner } from "../../core/runner.ts";
import { settled } from "../../core/settled.ts";
import { Facts, Topic } from "../../core/topic.ts";
import { parseOptions } from "../../options.ts";
import { FakeServiceSource, serviceObject, sliceObject } from "../../sources/fake-service-source.ts";
import { PODS_SEEN, PROXY_TURN } from "../facts.ts";
import { ServiceMetrics } from "./service-metrics.ts";
import { SERVICES_PLACE } from "./service-programmer.ts";
import { ServicesController, type ServicesParts } from "./services.ts";

const OWN: ClusterNode = {
  ...{ name: "n1", uid: "u1", podCidrs: [parseSubnet("10.244.1.0/24")], zone: "a" },
  internalAddresses: [parseAddress("192.0.2.1")],
  ...{ hasRefusedClaim: false, managed: true, problems: [] },
};

export const NOTHING: SentTransactions = { transactions: 0, requests: 0, resting: 0 };

/** Formats a frontend as "10.96.0.1:80". */
const place = ({ address, port }: Frontend) => `${formatAddress(address)}:${port}`;
/** Formats a frontend with its endpoints as "10.96.0.1:80>10.244.1.2,10.244.1.3". */
const line = (one: Frontend) => `${place(one)}>${one.endpoints.map(({ address }) => formatAddress(address)).join()}`;

/**
 * Returns a controller of Services whose surroundings are in memory. `programmerOf` makes the programmer through which
 * it sends.
 */
export function surroundings(
  programmerOf: (gate: RepairGate) => ServicesParts["programmer"],
  flags: readonly string[] = [],
) {
  const clock = new ManualClock();
  clock.chance = 0.5;
  const source = new FakeServiceSource();
  const map = new ServiceMap();
  const facts = new Facts();
  const health = new Health(clock);
  const metrics = new Metrics();
  const log = openLog("fatal", "n1");
  const nodes = new Topic("nodes");
  facts.of(PODS_SEEN).publish({ hasPorts: true, renumbering: { outside: [], former: [] }, changes: 0 });
  const view: { own: ClusterNode | undefined; isSynced: boolean } = { own: OWN, isSynced: true };
  const local = { addresses: [parseAddress("192.0.2.1")] as readonly Address[] };
  const gate = new RepairGate(clock, { onRepair: () => undefined, onContention: () => undefined });
  const lostClaims: number[] = [];
  const controller = new ServicesController({
    options: parseOptions(["--node-name", "n1", "--service-proxy", "nftables", ...flags]),
    ...{ map, source, view, nodes, gate, facts, health, clock, log, programmer: programmerOf(gate) },
    cluster: { apiServers: [{ address: parseAddress("192.0.2.250"), port: 6443 }] },
    addresses: {
      heard: () => ({ reason: "this node's addresses", isPatient: true }),
      read: async () => local.addresses,
      forget: () => undefined,
    },
    metrics: new ServiceMetrics(metrics.registry, map),
    conflicts: { report: (lost) => void lostClaims.push(lost.length) },
  });
  const runner = new Runner({ clock, metrics, log, kernel: { snapshot: () => Promise.reject(new Error("not read")) } });
  /** Runs the passes that are due within `ms`. */
  const settle = (ms?: number) => settled(clock, ms);
  /** Starts with the Service `web`, which has one endpoint. */
  const begin = async () => {
    facts.of(PROXY_TURN).publish({ isOurs: true });
    source.services.put(serviceObject("web", "10.96.0.1"));
    source.slices.put(sliceObject("web", ["10.244.1.2"]));
    source.listed();
    runner.start(controller);
    await settle();
  };
  const damage = () => runner.tableChanged(SERVICES_PLACE);
  return {
    ...{ clock, source, map, facts, health, metrics, nodes, view, local, controller, runner, lostClaims },
    ...{ settle, begin, damage },
  };
}

/** Returns a controller with a mode that records its calls. */
export function bench(...flags: string[]) {
  /** The recorded calls, in order. */
  const asked: string[] = [];
  const settings: NodeSettings[] = [];
  let next: (() => SentTransactions) | undefined;
  const answer = async () => {
    await Promise.resolve();
    const outcome = next;
    next = undefined;
    return outcome?.() ?? { ...NOTHING, transactions: 1, requests: 2 };
  };
  const programmer = {
    compare: (frontends: readonly Frontend[], wanted: NodeSettings, repairs: Repairs) => {
      asked.push(`compare ${repairs}: ${frontends.map(line).sort().join(" ")}`);
      settings.push(wanted);
      return answer();
    },
    change: (changes: readonly FrontendChange[]) => {
      asked.push(
        `change: ${changes.map(({ before, after }) => (after ? line(after) : `-${place(before as Frontend)}`)).join(" ")}`,
      );
      return answer();
    },
  };
  const around = surroundings(() => programmer, flags);
  /** Returns the calls since the last call of this function. */
  const taken = () => asked.splice(0);
  const notify = (message: Message) => around.runner.notified(message);
  const start = async () => {
    await around.begin();
    return taken();
  };
  const answers = (outcome: () => SentTransactions) => {
    next = outcome;
  };
  return { ...around, settings, taken, notify, start, answers };
}
