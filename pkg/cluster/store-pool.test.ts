/** Several stores on one connection: real resources, counted TCP connections. */
import { describe, expect, test } from "vitest";
import { ENDPOINT_SLICES, SERVICES } from "../../test/apiserver/kinds.ts";
import type { ApiServer } from "../../test/apiserver/server.ts";
import {
  namespaces,
  pause,
  pods,
  policies,
  service,
  serviceCidrs,
  services,
  slice,
  slices,
  storeBed,
  until,
  watches,
} from "../../test/apiserver/store-bed.ts";
import { parseAddress } from "../ip/address.ts";
import { formatAnnotations } from "./node/annotations.ts";
import { KubernetesSource } from "./node/kubernetes-source.ts";
import { NodeApi } from "./node/node-api.ts";
import type { ResourceParser } from "./parser.ts";

const { startServer, fileWith, connect, follow } = storeBed();

describe("several stores on one connection", () => {
  const PARSERS: readonly ResourceParser<unknown>[] = [
    ...[services, slices, pods],
    ...[namespaces, policies, serviceCidrs],
  ] as readonly ResourceParser<unknown>[];

  function fill({ cluster }: ApiServer): void {
    for (let n = 0; n < 600; n++) cluster.of("services").create(service(`web-${n}`, `10.96.${n >> 8}.${n & 255}`));
    cluster.of("endpointslices").create(slice("web-1", "web", "10.244.0.1"));
    cluster.of("pods").create({ metadata: { name: "p", namespace: "default" }, status: { podIP: "10.244.0.1" } });
    cluster.of("networkpolicies").create({ metadata: { name: "deny", namespace: "default" }, spec: { egress: [] } });
    cluster.of("servicecidrs").create({ metadata: { name: "kubernetes" }, spec: { cidrs: ["10.96.0.0/16"] } });
  }

  test("use one TCP connection for each of six watches and no more for their lists", async () => {
    const server = await startServer();
    fill(server);
    const connection = connect(server);
    const followed = PARSERS.map((parser) => follow(connection, parser));
    for (const { watching } of followed) await watching();
    expect(followed.map(({ store }) => store.size)).toEqual([600, 1, 1, 4, 1, 1]);
    expect(followed[4]?.store.get("default/deny")?.value).toEqual(["Ingress", "Egress"]);
    expect(followed[5]?.store.get("kubernetes")?.value).toEqual(["10.96.0.0/16"]);
    expect(server.requests).toHaveLength(2 * PARSERS.length + 1);
    expect([server.watches(), server.connections(), server.accepted()]).toEqual([6, 6, 6]);
  });

  test("share the connection with the source of Nodes", async () => {
    const server = await startServer();
    fill(server);
    server.createNode({ metadata: { name: "n1" }, spec: { podCIDR: "10.244.1.0/24" } });
    const connection = connect(server);
    const followed = [follow(connection, services), follow(connection, slices)];
    const api = new NodeApi(connection);
    const source = new KubernetesSource(api, { ownName: "n1" });
    const seen: string[] = [];
    source.start(({ type }) => seen.push(type));
    for (const { watching } of followed) await watching();
    await until(() => seen.includes("connected"));
    for (const publicIp of ["192.0.2.1", "192.0.2.2"]) {
      const wanted = formatAnnotations({ backend: { type: "host-gw" }, publicIp: parseAddress(publicIp) });
      await api.publishAnnotations("n1", wanted);
    }
    await until(() => seen.filter((type) => type === "upsert").length === 2);
    await source.stop();
    // Three watches, and at most two connections for the node's reads and writes.
    expect(server.accepted()).toBeGreaterThan(3);
    expect(server.accepted()).toBeLessThanOrEqual(5);
  });

  test("continue on new connections after a server's restart and a changed host address", async () => {
    const server = await startServer();
    fill(server);
    const connection = connect(server);
    const followed = PARSERS.map((parser) => follow(connection, parser));
    for (const { watching } of followed) await watching();
    connection.reconnect();
    for (const { failures } of followed) await until(() => failures.length > 0);
    for (const { watching } of followed) await watching();
    expect([server.connections(), server.accepted()]).toEqual([6, 12]);
    expect(followed.map(({ store }) => store.size)).toEqual([600, 1, 1, 4, 1, 1]);
  });

  test("keep watching if one of them fails", async () => {
    const server = await startServer();
    fill(server);
    server.forbid("list networkpolicies");
    const connection = connect(server);
    const followed = PARSERS.map((parser) => follow(connection, parser));
    await until(() => (followed[4]?.failures.length ?? 0) > 3);
    const phases = followed.map(({ store }) => store.status.phase);
    expect(phases).toEqual(["watching", "watching", "watching", "watching", "stale", "watching"]);
  });

  test("use a rotated token after the first refusal, without a failure", async () => {
    const server = await startServer({ token: "first" });
    const tokenFile = fileWith("token", "first");
    const user = { "auth-provider": { name: "tokenFile", config: { tokenFile } } };
    const config = { ...(JSON.parse(server.kubeconfig()) as object), users: [{ name: "weftd", user }] };
    const connection = connect(server, JSON.stringify(config));
    const followed = [follow(connection, services), follow(connection, slices)];
    for (const { watching } of followed) await watching();
    // A shorter watch without events counts as failed.
    await pause(1100);
    server.setToken("second");
    fileWith("token", "second");
    server.endWatches();
    await until(() => watches(server, SERVICES).length > 1 && watches(server, ENDPOINT_SLICES).length > 1);
    await until(() => server.watches() === 2);
    server.cluster.of("services").create(service("web", "10.96.0.1"));
    await until(() => followed[0]?.store.size === 1);
    expect(followed.map(({ failures }) => failures)).toEqual([[], []]);
    const tokens = server.requests.filter(({ watch }) => watch).map(({ headers }) => headers.authorization);
    expect(tokens.slice(-1)).toEqual(["Bearer second"]);
  });
});
