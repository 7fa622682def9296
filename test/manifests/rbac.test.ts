/** weftd with the rights of conf/base/rbac.yaml and admission.yaml, against an API server that holds it to them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Connection } from "../../pkg/cluster/connection.ts";
import { isNotFound } from "../../pkg/cluster/errors.ts";
import { connectKubernetes } from "../../pkg/cluster/kubeconfig.ts";
import { formatAnnotations } from "../../pkg/cluster/node/annotations.ts";
import { KubernetesSource } from "../../pkg/cluster/node/kubernetes-source.ts";
import { NodeApi } from "../../pkg/cluster/node/node-api.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { admitBy } from "../apiserver/admission.ts";
import { type Permits, permitsOf, type RbacObject } from "../apiserver/rbac.ts";
import { type ApiServer, startApiServer } from "../apiserver/server.ts";
import { kustomizeObjects } from "./tools.ts";

/** Programs of sixty megabytes are started, and schemas of all of Kubernetes loaded, on a machine that may be busy. */
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const ACCOUNT = { namespace: "weft", name: "weftd" };
const TOKEN = "weftd-on-n1";
const TIME = "2026-11-21T00:00:00Z";

let folder: string;
let permits: Permits;
let server: ApiServer;
let connection: Connection;
let api: NodeApi;
const asked = new Set<string>();

beforeAll(async () => {
  permits = permitsOf(kustomizeObjects("base") as unknown as RbacObject[], ACCOUNT);
  server = await startApiServer({
    token: TOKEN,
    admit: admitBy(kustomizeObjects("base")),
    permits: (verb, resource, namespace) => {
      asked.add([verb, resource, ...(namespace === undefined ? [] : [`in ${namespace}`])].join(" "));
      return permits(verb, resource, namespace);
    },
  });
  for (const name of ["n1", "n2"]) server.createNode({ metadata: { name }, spec: { podCIDR: "10.244.1.0/24" } });
  folder = mkdtempSync(join(tmpdir(), "weft-rbac-"));
  writeFileSync(join(folder, "kubeconfig"), server.kubeconfig());
  connection = connectKubernetes({ kubeconfig: join(folder, "kubeconfig") });
  api = new NodeApi(connection);
});

afterAll(async () => {
  connection.close();
  await server.close();
  rmSync(folder, { recursive: true });
});

test("all that weftd asks of an API server is granted, and nothing is granted that it does not ask", async () => {
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

  const granted = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"].flatMap((verb) =>
    ["nodes", "nodes/status", "nodes/proxy", "pods", "secrets", "configmaps", "events"].flatMap((resource) =>
      [undefined, "default", "weft", "kube-system"].flatMap((namespace) =>
        permits(verb, resource, namespace) && (namespace === undefined || !permits(verb, resource, undefined))
          ? [[verb, resource, ...(namespace === undefined ? [] : [`in ${namespace}`])].join(" ")]
          : [],
      ),
    ),
  );
  expect(granted.sort()).toEqual([...asked].sort());
});

test.each([
  ["PATCH", "/api/v1/nodes/n1"],
  ["DELETE", "/api/v1/nodes/n1"],
  ["POST", "/api/v1/nodes"],
  ["POST", "/api/v1/namespaces/kube-system/events"],
  ["GET", "/api/v1/namespaces/default/events"],
])("%s %s is refused", async (method, path) => {
  const headers = { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/merge-patch+json" };
  const body = method === "GET" ? null : "{}";
  const answer = await fetch(`${server.url}${path}`, { method, headers, body });
  expect(answer.status).toBe(403);
});

test("without one of its rights, what it asks is refused", async () => {
  const rules = kustomizeObjects("base").filter(({ kind }) => kind !== "RoleBinding") as unknown as RbacObject[];
  const fewer = permitsOf(rules, ACCOUNT);
  expect([fewer("get", "nodes", undefined), fewer("create", "events", "default")]).toEqual([true, false]);
  expect(isNotFound(await api.getNode("n3").catch((error: unknown) => error))).toBe(true);
});

test("another node is not written to, and no Event said about it", async () => {
  const wanted = formatAnnotations({ backend: { type: "host-gw" }, publicIp: parseAddress("192.0.2.66") });
  await expect(api.publishAnnotations("n2", wanted)).rejects.toThrow(
    /annotate node n2 at .*: 422 nodes "n2" is forbidden: ValidatingAdmissionPolicy 'weftd-nodes' denied request: weftd of node "n1" may not write node "n2"/,
  );
  const event = { node: "n2", uid: undefined, type: "Normal", reason: "R", message: "m", count: 1 } as const;
  await expect(api.createEvent({ ...event, firstTimestamp: TIME, lastTimestamp: TIME })).rejects.toThrow(
    /'weftd-events' denied request: weftd of node "n1" writes Events about that node alone/,
  );
  expect(server.store.get("n2").metadata.annotations).toBeUndefined();
});
