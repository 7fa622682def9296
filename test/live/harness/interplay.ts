/** Two nodes with isolated pods, and connections to them: for policies beside other programs' rules. */
import { expect } from "vitest";
import type { Cleanup } from "./cleanup.ts";
import { Cluster, ECHO_PORT, type Node, type Pod } from "./cluster.ts";
import type { Inside } from "./inside.ts";
import { PolicyObjects } from "./policies.ts";
import { eventually, PATIENCE } from "./process.ts";
import { ServiceObjects } from "./services.ts";

/** A connection that takes longer counts as dropped. TCP repeats a dropped SYN only after a second. */
export const DROPPED_AFTER_MS = 300 * PATIENCE;

export type Outcome = "passes" | "dropped" | "rejected";

export async function outcome(from: Inside, to: string, port: number, timeoutMs = DROPPED_AFTER_MS): Promise<Outcome> {
  try {
    await from.seenBy(to, port, { timeoutMs });
    return "passes";
  } catch (error) {
    const text = String(error);
    if (text.includes("no answer")) return "dropped";
    if (text.includes("ECONNREFUSED")) return "rejected";
    throw error;
  }
}

/** The outcome of connections to addresses of both families, or of one. Throws if they differ. */
export async function outcomes(from: Inside, addresses: readonly string[], port: number): Promise<Outcome> {
  const all = await Promise.all(addresses.map((address) => outcome(from, address, port)));
  if (all[0] === undefined || new Set(all).size !== 1) throw new Error(`${addresses.join(", ")}: ${all.join(", ")}`);
  return all[0];
}

/** Two nodes. `web` (node 1) and `far` (node 2) are isolated and allow pods with the label app=good. */
export class InterplayBed {
  readonly cluster: Cluster;
  readonly objects: PolicyObjects;
  readonly services: ServiceObjects;
  readonly node: Node;
  readonly other: Node;
  readonly pods: Readonly<Record<"web" | "good" | "bad" | "far" | "farGood" | "farBad", Pod>>;

  private constructor(
    cluster: Cluster,
    objects: PolicyObjects,
    nodes: readonly [Node, Node],
    pods: InterplayBed["pods"],
  ) {
    this.cluster = cluster;
    this.objects = objects;
    this.services = new ServiceObjects(cluster);
    [this.node, this.other] = nodes;
    this.pods = pods;
  }

  static async start(
    cleanup: Cleanup,
    backend: string,
    attach: "bridge" | "ptp",
    environment: Readonly<Record<string, string>>,
  ): Promise<InterplayBed> {
    const cluster = await Cluster.start(backend, cleanup, { families: "dual", attach });
    cluster.weftdEnvironment = { WEFTD_NETWORK_POLICY: "enforce", ...environment };
    const objects = new PolicyObjects(cluster);
    const node = await cluster.addNode(1);
    const other = await cluster.addNode(2);
    // A node routes packets to Services before their destinations are translated.
    for (const { inside } of [node, other])
      for (const family of ["-4", "-6"]) await inside.succeed("ip", [family, "route", "add", "default", "dev", "eth0"]);
    for (const one of [node, other])
      await eventually(async () => expect((await cluster.peerRoutes(one)).size).toBeGreaterThan(0));
    const pods = {
      web: await objects.start(node, "web"),
      good: await objects.start(node, "good"),
      bad: await objects.start(node, "bad"),
      far: await objects.start(other, "far"),
      farGood: await objects.start(other, "far-good", { app: "good" }),
      farBad: await objects.start(other, "far-bad", { app: "bad" }),
    };
    const bed = new InterplayBed(cluster, objects, [node, other], pods);
    await objects.isolate("web", "web", ["good"]);
    await objects.isolate("far", "far", ["good"]);
    await eventually(() => bed.expectJudged(pods.web.addresses, ECHO_PORT));
    await eventually(() => bed.expectJudged(pods.far.addresses, ECHO_PORT));
    return bed;
  }

  /** Expects that only allowed pods reach the addresses, on the same node and from the other. */
  async expectJudged(addresses: readonly string[], port: number): Promise<void> {
    const { good, bad, farGood, farBad } = this.pods;
    const [g, b, fg, fb] = await Promise.all(
      [good, bad, farGood, farBad].map(({ inside }) => outcomes(inside, addresses, port)),
    );
    expect({ good: g, bad: b, farGood: fg, farBad: fb }).toEqual({
      ...{ good: "passes", bad: "dropped", farGood: "passes", farBad: "dropped" },
    });
  }

  /** A node's rules of policies without counters. */
  policies(node = this.node): Promise<string> {
    return node.inside.succeed("nft", ["-s", "list", "table", "inet", "weft-policy"]);
  }

  shell(script: string): Promise<string> {
    return this.node.inside.succeed("sh", ["-c", script]);
  }

  /** Allows addresses to the pods with a label `app`. */
  async allowBlocks(name: string, app: string, cidrs: readonly string[]): Promise<void> {
    await this.cluster.api("POST", "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies", {
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name, namespace: "default" } },
      spec: {
        ...{ podSelector: { matchLabels: { app } }, policyTypes: ["Ingress"] },
        ingress: [{ from: cidrs.map((cidr) => ({ ipBlock: { cidr } })) }],
      },
    });
  }

  /** Isolates the pods with a label `app` for egress. */
  async isolateEgress(name: string, app: string): Promise<void> {
    await this.cluster.api("POST", "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies", {
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name, namespace: "default" } },
      spec: { podSelector: { matchLabels: { app } }, policyTypes: ["Egress"], egress: [] },
    });
  }
}
