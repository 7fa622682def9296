/** Everything stored: one store for each kind, with a common version counter, and the Events. */
import { EventStore } from "./events.ts";
import { BUILT_IN, type Kind, NAMESPACES, NODES } from "./kinds.ts";
import { nameOfNew } from "./names.ts";
import { type JsonObject, type KubeObject, keyOf } from "./resource.ts";
import { type NodeStore, ObjectStore, Revision } from "./store.ts";

export interface ClusterOptions {
  /** The number of changes of each kind in the history. Default 1000. */
  readonly historyLimit?: number | undefined;
  readonly nowMs: () => number;
  readonly newUid: () => string;
}

/** Namespaces that a server makes when it starts. */
const FIRST_NAMESPACES = ["default", "kube-node-lease", "kube-public", "kube-system"];

export class Cluster {
  readonly nodes: NodeStore;
  readonly events: EventStore;
  readonly #options: ClusterOptions;
  readonly #revision = new Revision();
  /** One store for each served kind. */
  readonly #stores: ObjectStore[] = [];

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.nodes = new ObjectStore(NODES, this.#storeOptions());
    this.#stores.push(this.nodes);
    for (const kind of BUILT_IN) this.define(kind);
    this.events = new EventStore({ ...options, nextVersion: () => this.#revision.advance() });
    const version = this.#revision.current;
    const seeds = FIRST_NAMESPACES.map((name) => ({
      metadata: { name, uid: options.newUid(), resourceVersion: String(version), creationTimestamp: time(options) },
    }));
    this.of(NAMESPACES.plural).seed(seeds, version);
  }

  /** Serves an additional kind, as after the creation of a CustomResourceDefinition. */
  define(kind: Kind): ObjectStore {
    const store = new ObjectStore(kind, this.#storeOptions());
    this.#stores.push(store);
    return store;
  }

  /** Stops serving the kind and deletes its objects, as after the deletion of a CustomResourceDefinition. */
  withdraw(plural: string): void {
    const store = this.of(plural);
    for (const { metadata } of store.list()) store.delete(keyOf(metadata));
    this.#stores.splice(this.#stores.indexOf(store), 1);
  }

  /** Throws if the kind is not served. */
  of(plural: string): ObjectStore {
    const store = this.#stores.find(({ kind }) => kind.plural === plural);
    if (store === undefined) throw new Error(`${plural} are not served`);
    return store;
  }

  find(group: string, version: string, plural: string): ObjectStore | undefined {
    return this.#stores.find(({ kind }) => kind.group === group && kind.version === version && kind.plural === plural);
  }

  /** The name of a new object; see `nameOfNew`. */
  nameOfNew(metadata: JsonObject): string {
    return nameOfNew(metadata, this.#options.newUid);
  }

  /** True if the server serves any kind of this group and version. */
  hasGroup(group: string, version: string): boolean {
    return this.#stores.some(({ kind }) => kind.group === group && kind.version === version);
  }

  /** Deletes an object; for a namespace, also all objects in it. Returns the last state. Throws 404. */
  delete(store: ObjectStore, key: string): KubeObject {
    const object = store.get(key);
    const inside = store.kind === NAMESPACES ? this.#stores.filter(({ kind }) => kind.isNamespaced) : [];
    for (const other of inside) {
      for (const { metadata } of other.list()) if (metadata.namespace === key) other.delete(keyOf(metadata));
    }
    store.delete(key);
    return object;
  }

  #storeOptions() {
    const { historyLimit, nowMs, newUid } = this.#options;
    return { revision: this.#revision, nowMs, newUid, ...(historyLimit === undefined ? {} : { historyLimit }) };
  }
}

function time({ nowMs }: ClusterOptions): string {
  return new Date(nowMs()).toISOString().replace(/\.\d+Z$/, "Z");
}
