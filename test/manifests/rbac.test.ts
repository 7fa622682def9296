/** weftd with the rights of conf/base/rbac.yaml and admission.yaml, with an API server that enforces them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { openLog } from "../../daemon/core/log.ts";
import { kubernetesPolicies } from "../../daemon/sources/kubernetes-policies.ts";
import { kubernetesServices } from "../../daemon/sources/kubernetes-services.ts";
import type { PolicySource } from "../../daemon/sources/policy-source.ts";
import { ServerLookup } from "../../daemon/sources/server-lookup.ts";
import { SYSTEM_CLOCK } from "../../pkg/cluster/clock.ts";
import { isNotFound } from "../../pkg/cluster/errors.ts";
import { connectKubernetes } from "../../pkg/cluster/kubeconfig.ts";
import { formatAnnotations } from "../../pkg/cluster/node/annotations.ts";
import { KubernetesSource } from "../../pkg/cluster/node/kubernetes-source.ts";
import { NodeApi } from "../../pkg/cluster/node/node-api.ts";
import type { StorePhase } from "../../pkg/cluster/store.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { admitBy } from "../apiserver/admission.ts";
import { CLUSTER_NETWORK_POLICIES } from "../apiserver/kinds.ts";
import { type Permits, permitsOf, type RbacObject } from "../apiserver/rbac.ts";
import { type ApiServer, startApiServer } from "../apiserver/server.ts";
import { kustomizeObjects } from "./tools.ts";

/** The tests start programs of sixty megabytes and load schemas of all of Kubernetes, on a machine that may be busy. */
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

type Rule = NonNullable<RbacObject["rules"]>[number];

const ACCOUNT = { namespace: "weft", name: "weftd" };
const TOKEN = "weftd-on-n1";
const TIME = "2026-11-21T00:00:00Z";

const cleanups: (() => void | Promise<void>)[] = [];
let server: ApiServer;
let api: NodeApi;

/**
 * An API server that enforces the rights of a folder of conf/ for weftd, and the rights that weftd used. `keeps`: the rules
 * that the roles have.
 */
async function open(folder: string, keeps: (rule: Rule) => boolean = () => true) {
  const objects = kustomizeObjects(folder).map((object) =>
    Array.isArray(object.rules) ? { ...object, rules: (object.rules as Rule[]).filter(keeps) } : object,
  );
  const permits = permitsOf(objects as unknown as RbacObject[], ACCOUNT);
  const asked = new Set<string>();
  const server = await startApiServer({
    token: TOKEN,
    admit: admitBy(objects),
    permits: (verb, resource, namespace, group, name) => {
      const isNamed = !permits(verb, resource, namespace, group);
      const scope = permits(verb, resource, undefined, group) ? undefined : namespace;
      asked.add(rightText(verb, resource, scope, group, isNamed ? name : undefined));
      return permits(verb, resource, namespace, group, name);
    },
  });
  const files = mkdtempSync(join(tmpdir(), "weft-rbac-"));
  writeFileSync(join(files, "kubeconfig"), server.kubeconfig());
  const connection = connectKubernetes({ kubeconfig: join(files, "kubeconfig") });
  cleanups.push(async () => {
    connection.close();
    await server.close();
    rmSync(files, { recursive: true });
  });
  for (const name of ["n1", "n2"]) server.createNode({ metadata: { name }, spec: { podCIDR: "10.244.1.0/24" } });
  return { server, connection, api: new NodeApi(connection), permits, asked };
}

/** "list services", "get endpointslices.discovery.k8s.io in default: kubernetes" */
function rightText(verb: string, resource: string, namespace?: string, group = "", name?: string): string {
  const subject = group === "" ? resource : `${resource}.${group}`;
  return `${verb} ${subject}${namespace === undefined ? "" : ` in ${namespace}`}${name === undefined ? "" : `: ${name}`}`;
}

beforeAll(async () => {
  ({ server, api } = await open("base"));
});

afterAll(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const RESOURCES = [
  ...["nodes", "nodes/status", "nodes/proxy", "pods", "secrets", "configmaps", "events", "services", "endpoints"].map(
    (resource) => ["", resource] as const,
  ),
  ...[["discovery.k8s.io", "endpointslices"] as const, ["networking.k8s.io", "servicecidrs"] as const],
  ...[["networking.k8s.io", "networkpolicies"] as const, ["", "namespaces"] as const],
  ["policy.networking.k8s.io", "clusternetworkpolicies"] as const,
];
const VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/** All rights of an account, each in its widest scope. */
function rightsOf(permits: Permits): string[] {
  return VERBS.flatMap((verb) =>
    RESOURCES.flatMap(([group, resource]) => {
      if (permits(verb, resource, undefined, group)) return [rightText(verb, resource, undefined, group)];
      return ["default", "weft", "kube-system"].flatMap((namespace) => {
        if (permits(verb, resource, namespace, group)) return [rightText(verb, resource, namespace, group)];
        const isNamed = permits(verb, resource, namespace, group, "kubernetes");
        return isNamed ? [rightText(verb, resource, namespace, group, "kubernetes")] : [];
      });
    }),
  ).sort();
}

test.each(["base", "overlays/service-proxy"])("%s grants exactly the rights that weftd uses", async (folder) => {
  const { connection, server, api, permits, asked } = await open(folder);
  const log = openLog("fatal", "n1");
  await new Promise<void>((resolve, reject) => {
    const source = new KubernetesSource(api, {});
    source.start((event) => {
      if (event.type === "stale") reject(new Error(event.reason));
      if (event.type === "connected") source.stop().then(resolve, reject);
    });
  });
  const backend = { type: "host-gw" };
  await api.publishAnnotations("n1", formatAnnotations({ backend, publicIp: parseAddress("192.0.2.1") }));
  await api.publishCondition(
    "n1",
    { type: "NetworkUnavailable", status: "False", reason: "WeftIsUp", message: "m" },
    TIME,
  );
  const times = { firstTimestamp: TIME, lastTimestamp: TIME };
  const name = await api.createEvent({
    ...{ node: "n1", uid: undefined, type: "Normal", reason: "R", message: "m", count: 1 },
    ...times,
  });
  await api.countEvent(name, { count: 2, lastTimestamp: TIME });
  const lookup = new ServerLookup({ connection, known: { learn: async () => undefined }, clock: SYSTEM_CLOCK, log });
  lookup.start();
  await vi.waitFor(() => expect([...asked].join()).toContain("endpointslices"), { timeout: 30_000 });
  await lookup.stop();
  await followPolicies(kubernetesPolicies({ connection, clock: SYSTEM_CLOCK, log }), "absent");
  server.cluster.define(CLUSTER_NETWORK_POLICIES);
  await followPolicies(kubernetesPolicies({ connection, clock: SYSTEM_CLOCK, log }), "watching");
  if (folder !== "base") {
    const stores = kubernetesServices({ connection, clock: SYSTEM_CLOCK, log });
    stores.start();
    const all = [stores.services, stores.slices, stores.cidrs];
    await vi.waitFor(() => expect(all.map(({ status }) => status.phase)).toEqual(all.map(() => "watching")), {
      timeout: 30_000,
    });
    await stores.stop();
  }
  expect(rightsOf(permits)).toEqual([...asked].sort());
});

/** Lists everything that policies need. `clusterPhase` is that of ClusterNetworkPolicies. */
async function followPolicies(source: PolicySource, clusterPhase: StorePhase): Promise<void> {
  source.start();
  source.startPods();
  const { policies, clusterPolicies, namespaces, pods } = source;
  const phases = () => [policies, clusterPolicies, namespaces, pods].map(({ status }) => status.phase);
  await vi.waitFor(() => expect(phases()).toEqual(["watching", clusterPhase, "watching", "watching"]), {
    timeout: 30_000,
  });
  expect(await source.getPod("default/none", AbortSignal.timeout(10_000))).toBeUndefined();
  await source.stop();
}

test("without the rights on policies, the source names the missing ones, and where they are granted", async () => {
  const { connection } = await open("base", (rule) => !rule.resources?.includes("networkpolicies"));
  const source = kubernetesPolicies({ connection, clock: SYSTEM_CLOCK, log: openLog("fatal", "n1") });
  source.start();
  await vi.waitFor(() => expect(source.policies.status.phase).toBe("stale"), { timeout: 30_000 });
  await source.stop();
  expect(source.policies.hasSynced).toBe(false);
  expect(source.policies.status.reason).toMatch(
    /403 .*needs list and watch on networkpolicies.networking.k8s.io: the ClusterRole weftd of conf\/base/,
  );
});

test("--service-proxy with the rights of the base reports the missing ones, and how to grant them", async () => {
  const { connection } = await open("base");
  const { services, start, stop } = kubernetesServices({
    connection,
    clock: SYSTEM_CLOCK,
    log: openLog("fatal", "n1"),
  });
  start();
  await vi.waitFor(() => expect(services.status.phase).toBe("stale"), { timeout: 30_000 });
  await stop();
  expect(services.status.reason).toMatch(/403 .*needs list and watch on services: conf\/components\/service-proxy/);
});

test.each([
  ["PATCH", "/api/v1/nodes/n1"],
  ["DELETE", "/api/v1/nodes/n1"],
  ["POST", "/api/v1/nodes"],
  ["POST", "/api/v1/namespaces/kube-system/events"],
  ["GET", "/api/v1/namespaces/default/events"],
])("%s %s is rejected", async (method, path) => {
  const headers = { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/merge-patch+json" };
  const body = method === "GET" ? null : "{}";
  const answer = await fetch(`${server.url}${path}`, { method, headers, body });
  expect(answer.status).toBe(403);
});

test("without one of its rights, a request is rejected", async () => {
  const rules = kustomizeObjects("base").filter(({ kind }) => kind !== "RoleBinding") as unknown as RbacObject[];
  const fewer = permitsOf(rules, ACCOUNT);
  expect([fewer("get", "nodes", undefined), fewer("create", "events", "default")]).toEqual([true, false]);
  expect(isNotFound(await api.getNode("n3").catch((error: unknown) => error))).toBe(true);
});

test("weftd may not write another node, nor an Event about it", async () => {
  const wanted = formatAnnotations({ backend: { type: "host-gw" }, publicIp: parseAddress("192.0.2.66") });
  await expect(api.publishAnnotations("n2", wanted)).rejects.toThrow(
    /annotate node n2 at .*: 422 nodes "n2" is forbidden: ValidatingAdmissionPolicy 'weftd-nodes' denied request: weftd of node "n1" may not write node "n2"/,
  );
  const event = { node: "n2", uid: undefined, type: "Normal", reason: "R", message: "m", count: 1 } as const;
  await expect(api.createEvent({ ...event, firstTimestamp: TIME, lastTimestamp: TIME })).rejects.toThrow(
    /'weftd-events' denied request: weftd of node "n1" may write Events about that node only/,
  );
  expect(server.store.get("n2").metadata.annotations).toBeUndefined();
});
