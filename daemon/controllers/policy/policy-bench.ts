/** Helpers for tests: a controller of policies whose surroundings are in memory. */
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import { addressOfKey, formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import type { PolicySettings, ProfileCounts } from "../../../pkg/policy/program.ts";
import type { PolicyChange, Profile } from "../../../pkg/policy/state.ts";
import type { PolicyTables } from "../../../pkg/policy/tables.ts";
import { RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import type { Repairs, SentTransactions } from "../../core/drivers/table-programmer.ts";
import { Health } from "../../core/health.ts";
import { openLog } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Runner } from "../../core/runner.ts";
import { settled } from "../../core/settled.ts";
import { Facts, Topic } from "../../core/topic.ts";
import { FakePolicySource, podObject, policyObject } from "../../sources/fake-policy-source.ts";
import type { AttachedPod } from "./pod-installer.ts";
import { PolicyController, type PolicyParts } from "./policy.ts";
import { POLICY_PLACE } from "./policy-programmer.ts";

export const nodeOf = (name: string, parts: Partial<ClusterNode> = {}): ClusterNode => ({
  ...{ name, uid: name, podCidrs: [], internalAddresses: [], hasRefusedClaim: false, managed: true, problems: [] },
  ...parts,
});

export const NOTHING: SentTransactions = { transactions: 0, requests: 0, resting: 0 };
const SOMETHING: SentTransactions = { transactions: 1, requests: 2, resting: 0 };

/** A request to install a pod with one address. */
export const attached = (name: string, ip: string, uid = name): AttachedPod => ({
  ...{ key: `default/${name}`, uid, containerId: `c-${name}`, addresses: [parseAddress(ip)] },
});

export interface BenchOptions {
  readonly flags?: Partial<PolicyParts["options"]>;
  readonly own?: ClusterNode;
  readonly peers?: readonly ClusterNode[];
  /** Pods whose addresses the runtime's cache has. */
  readonly cached?: readonly AttachedPod[];
}

/** The kernel is a list of calls: "compare ADDRESSES", "change KINDS", "remove". */
export function bench({ flags = {}, own = nodeOf("n1"), peers = [], cached = [] }: BenchOptions = {}) {
  const clock = new ManualClock();
  clock.chance = 0.5;
  const source = new FakePolicySource();
  const facts = new Facts();
  const health = new Health(clock);
  const metrics = new Metrics();
  const log = openLog("fatal", "n1");
  const nodes = new Topic("nodes");
  const recorded: (string | undefined)[] = [];
  const settings: PolicySettings[] = [];
  const calls: string[] = [];
  const view = { own: own as ClusterNode | undefined, peers, isSynced: true };
  const kernel = {
    hasLog: true,
    counts: [] as readonly ProfileCounts[],
    isBusy: false,
    next: undefined as (() => SentTransactions | Promise<SentTransactions>) | undefined,
  };
  const answer = async (call: string): Promise<SentTransactions> => {
    if (kernel.isBusy) throw new Error("two transactions at the same time");
    kernel.isBusy = true;
    calls.push(call);
    await Promise.resolve();
    const outcome = kernel.next;
    kernel.next = undefined;
    try {
      return (await outcome?.()) ?? SOMETHING;
    } finally {
      kernel.isBusy = false;
    }
  };
  let programmed: PolicyTables | undefined;
  const programmer = {
    compare: (tables: PolicyTables, wanted: PolicySettings, repairs: Repairs) => {
      settings.push(wanted);
      programmed = tables;
      const subjects = [...tables.subjects.keys()].map((key) => formatAddress(addressOfKey(key)));
      return answer(`compare ${repairs}: ${subjects.sort().join(" ")}`.trim());
    },
    change: (changes: readonly PolicyChange[]) => answer(`change: ${changes.map(changeText).join(" ")}`),
    remove: () => answer("remove"),
    counts: async () => kernel.counts,
  };
  const gate = new RepairGate(clock, { onRepair: () => undefined, onContention: () => undefined });
  const map = new PolicyMap("n1");
  const controller = new PolicyController({
    options: { networkPolicy: undefined, policyFail: undefined, ...flags },
    ...{ map, source, view, nodes, programmer, gate, facts, health, clock, log, registry: metrics.registry },
    announcer: { recordPolicyMode: (mode) => void recorded.push(mode) },
    running: { attachments: () => cached },
    logProbe: {
      hasLog: async () => kernel.hasLog,
      get last() {
        return kernel.hasLog;
      },
    },
  });
  const runner = new Runner({ clock, metrics, log, kernel: { snapshot: () => Promise.reject(new Error("not read")) } });
  /** Runs the passes that are due within `ms`. */
  const settle = (ms?: number) => settled(clock, ms);
  /** Returns the calls since the last call of this function. */
  const taken = () => calls.splice(0);
  /** Starts with the pod `web`, which the policy `p` isolates except from pods `good`, and the pods `good` and `bad`. */
  const start = async () => {
    source.policies.put(policyObject("p", "web", ["good"]));
    source.listed();
    source.namespaces.put({ metadata: { name: "default", uid: "ns" } });
    source.pods.put(podObject("web", ["10.244.1.2"]), podObject("good", ["10.244.2.3"], { node: "n2" }));
    source.pods.put(podObject("bad", ["10.244.2.4"], { node: "n2" }));
    source.podsListed();
    runner.start(controller);
    await settle();
    return taken();
  };
  const damage = () => runner.tableChanged(POLICY_PLACE);
  const profiles = () => programmed?.profiles ?? new Map<number, Profile>();
  const readiness = () => health.readiness().text.match(/\[.\] policies: .*/g);
  return {
    ...{ clock, source, facts, metrics, nodes, view, recorded, settings, kernel, map, controller, runner },
    ...{ settle, taken, start, damage, readiness, profiles },
  };
}

/** "peer 10.244.2.4=-", "subject 10.244.1.2" */
function changeText(change: PolicyChange): string {
  switch (change.kind) {
    case "peer":
      return `peer ${formatAddress(change.address)}${change.identity === undefined ? "=-" : ""}`;
    case "subject":
      return `subject ${formatAddress(change.address)}${change.subject === undefined ? "=-" : ""}`;
    default:
      return change.kind;
  }
}
