/** For tests: Services, EndpointSlices and ServiceCIDRs that a test adds and removes itself. */
import { Indexer, type StoreChange, type StoreEntry } from "../../pkg/cluster/indexer.ts";
import { equalityOf, type ResourceParser } from "../../pkg/cluster/parser.ts";
import type { KubeObject } from "../../pkg/cluster/resource.ts";
import { keyOf } from "../../pkg/cluster/resource.ts";
import { ENDPOINT_SLICE_PARSER, type EndpointSlice } from "../../pkg/cluster/service/endpoint-slice.ts";
import { SERVICE_PARSER, type Service } from "../../pkg/cluster/service/service.ts";
import { SERVICE_CIDR_PARSER, type ServiceCIDR } from "../../pkg/cluster/service/service-cidr.ts";
import type { StoreListener, StoreStatus } from "../../pkg/cluster/store.ts";
import type { ObjectSource, ServiceSource } from "./service-source.ts";

/** Notifies its listeners of each change at once. */
export class FakeObjectSource<T> implements ObjectSource<T> {
  readonly #parser: ResourceParser<T>;
  readonly #listeners = new Set<StoreListener<T>>();
  readonly #indexer: Indexer<T>;
  #changes: StoreChange<T>[] = [];
  /** While true, listeners are not notified. This imitates a store, which notifies one turn of the event loop later. */
  isSilent = false;
  status: StoreStatus = { phase: "listing", silentMs: 0, hasSynced: false };

  constructor(parser: ResourceParser<T>) {
    this.#parser = parser;
    this.#indexer = new Indexer(equalityOf(parser), (change) => this.#changes.push(change));
  }

  /** Changes the status, for example to listed and watching. */
  becomes(status: Partial<StoreStatus>): void {
    this.status = { ...this.status, ...status };
    this.#tell();
  }

  put(...objects: readonly KubeObject[]): void {
    for (const object of objects) {
      const { namespace = "", name, uid = name } = object.metadata;
      const value = this.#parser.parse(object);
      if (value !== undefined) this.#indexer.put({ key: keyOf(namespace, name), namespace, name, uid, value });
    }
    this.#tell();
  }

  remove(...keys: readonly string[]): void {
    for (const key of keys) this.#indexer.remove(key);
    this.#tell();
  }

  get(key: string): StoreEntry<T> | undefined {
    return this.#indexer.get(key);
  }

  list(): readonly StoreEntry<T>[] {
    return this.#indexer.list();
  }

  get size(): number {
    return this.#indexer.size;
  }

  get hasSynced(): boolean {
    return this.status.hasSynced;
  }

  addIndex: ObjectSource<T>["addIndex"] = (keysOf) => this.#indexer.addIndex(keysOf);

  subscribe(listener: StoreListener<T>): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Notifies the listeners of all pending changes. */
  tell(): void {
    this.isSilent = false;
    this.#tell();
  }

  #tell(): void {
    if (this.isSilent) return;
    const changes = this.#changes;
    this.#changes = [];
    for (const listener of this.#listeners) listener({ changes, status: this.status });
  }
}

export class FakeServiceSource implements ServiceSource {
  readonly services = new FakeObjectSource<Service>(SERVICE_PARSER);
  readonly slices = new FakeObjectSource<EndpointSlice>(ENDPOINT_SLICE_PARSER);
  readonly cidrs = new FakeObjectSource<ServiceCIDR>(SERVICE_CIDR_PARSER);

  /** Marks all three sources as listed. */
  listed(): void {
    for (const each of [this.services, this.slices, this.cidrs]) each.becomes({ phase: "watching", hasSynced: true });
  }

  start(): void {}
  async stop(): Promise<void> {}
}

/** Makes a Service in the namespace `default` with one TCP port, 80. */
export function serviceObject(name: string, clusterIP: string, spec: object = {}): KubeObject {
  return {
    metadata: { name, namespace: "default", uid: name },
    spec: {
      ...{ type: "ClusterIP", clusterIP, clusterIPs: [clusterIP] },
      ports: [{ name: "http", protocol: "TCP", port: 80, targetPort: 8080 }],
      ...spec,
    },
  };
}

/**
 * Makes an EndpointSlice of that Service with port 8080. `triggered` is the annotation with the time of its last
 * change.
 */
export function sliceObject(service: string, addresses: readonly string[], triggered?: string): KubeObject {
  return {
    metadata: {
      ...{ name: `${service}-1`, namespace: "default", uid: `${service}-1` },
      labels: { "kubernetes.io/service-name": service },
      annotations: { ...(triggered && { "endpoints.kubernetes.io/last-change-trigger-time": triggered }) },
    },
    addressType: "IPv4",
    ports: [{ name: "http", protocol: "TCP", port: 8080 }],
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  };
}
