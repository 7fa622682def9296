/** Shared by the tests of stores: a test API server, a connection, small parsers of several resources. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import type { Connection } from "../../pkg/cluster/connection.ts";
import { connectKubernetes } from "../../pkg/cluster/kubeconfig.ts";
import type { ResourceParser } from "../../pkg/cluster/parser.ts";
import type { KubeObject } from "../../pkg/cluster/resource.ts";
import { Store, type StoreNotice, type StoreOptions } from "../../pkg/cluster/store.ts";
import { ENDPOINT_SLICES, type Kind, NAMESPACES, NETWORK_POLICIES, PODS, SERVICE_CIDRS, SERVICES } from "./kinds.ts";
import type { JsonObject, ObjectInput } from "./resource.ts";
import { type ApiServer, type ApiServerOptions, startApiServer } from "./server.ts";

/** Short delays in place of a cluster's seconds. */
const QUICK: Partial<StoreOptions> = { backoff: { initialMs: 20, maxMs: 200 } };

/** For a test file: each test gets a folder, and everything it starts ends with it. */
export function storeBed() {
  let folder = "";
  const cleanups: (() => void | Promise<void>)[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "weft-store-"));
    cleanups.push(() => rmSync(folder, { recursive: true }));
  });

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function startServer(options: ApiServerOptions = {}): Promise<ApiServer> {
    const server = await startApiServer(options);
    cleanups.push(() => server.close());
    return server;
  }

  /** Writes `content`, and returns the path. */
  function fileWith(name: string, content: string): string {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  }

  /** `kubeconfig` replaces the server's own. */
  function connect(server: ApiServer, kubeconfig = server.kubeconfig()): Connection {
    const connection = connectKubernetes({ kubeconfig: fileWith("kubeconfig", kubeconfig) });
    cleanups.push(() => connection.close());
    return connection;
  }

  /** A started store, and its notifications. */
  function follow<T>(connection: Connection, parser: ResourceParser<T>, options: Partial<StoreOptions> = {}) {
    const failures: { message: string; retryMs: number }[] = [];
    const onFailure = (error: unknown, retryMs: number) =>
      failures.push({ message: (error as Error).message, retryMs });
    const store = new Store(connection, parser, { ...QUICK, onFailure, ...options });
    const notices: StoreNotice<T>[] = [];
    store.subscribe((notice) => notices.push(notice));
    store.start();
    cleanups.push(() => store.stop());
    const watching = () => until(() => store.status.phase === "watching");
    /** All changes since the last call, as "key before>after". */
    const told = () =>
      notices
        .splice(0)
        .flatMap(({ changes }) => changes)
        .map(({ key, before, after }) => `${key} ${JSON.stringify(before?.value)}>${JSON.stringify(after?.value)}`);
    /** Waits for this many more changes, and returns them. */
    const tells = async (count: number) => {
      const all: string[] = [];
      await until(() => all.push(...told()) >= count);
      return all;
    };
    return { store, notices, failures, watching, told, tells };
  }

  return { startServer, fileWith, connect, follow };
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(5);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A small part of each resource, as a parser would keep it. */
const text = (value: unknown) => (typeof value === "string" ? value : "");
export const specOf = ({ spec }: KubeObject) => (spec ?? {}) as JsonObject;

export const services: ResourceParser<string> = {
  resource: SERVICES,
  parse: (object) => text(specOf(object).clusterIP),
};

export const slices: ResourceParser<{ service: string; addresses: readonly string[] }> = {
  resource: ENDPOINT_SLICES,
  parse: ({ metadata, endpoints }) => {
    const service = metadata.labels?.["kubernetes.io/service-name"];
    if (service === undefined) return undefined;
    const list = (Array.isArray(endpoints) ? endpoints : []) as { addresses: string[] }[];
    return { service, addresses: list.flatMap(({ addresses }) => addresses) };
  },
};

export const pods: ResourceParser<string> = {
  resource: PODS,
  parse: ({ status }) => text((status as JsonObject | undefined)?.podIP),
};

export const namespaces: ResourceParser<readonly string[]> = {
  resource: NAMESPACES,
  form: "metadata",
  parse: (object) => Object.keys({ ...object, ...object.metadata.labels }),
};

export const policies: ResourceParser<unknown> = {
  resource: NETWORK_POLICIES,
  parse: (object) => specOf(object).policyTypes,
};

export const serviceCidrs: ResourceParser<unknown> = {
  resource: SERVICE_CIDRS,
  parse: (object) => specOf(object).cidrs,
};

export function service(name: string, clusterIP: string, more: JsonObject = {}): ObjectInput {
  return { metadata: { name, namespace: "default", ...more }, spec: { clusterIP } };
}

export function slice(name: string, of: string, ...addresses: string[]): ObjectInput {
  const labels = { "kubernetes.io/service-name": of };
  return {
    metadata: { name, namespace: "default", labels },
    addressType: "IPv4",
    endpoints: addresses.map((address) => ({ addresses: [address] })),
  };
}

export function lists(server: ApiServer, { plural }: Pick<Kind, "plural">) {
  return server.requests.filter(({ watch, path }) => path.endsWith(`/${plural}`) && !watch);
}

export function watches(server: ApiServer, { plural }: Pick<Kind, "plural">) {
  return server.requests.filter(({ watch, path }) => path.endsWith(`/${plural}`) && watch);
}
