/** All that is stored: one store for each kind, with one counter of versions, and the Events. */
import { EventStore } from "./events.ts";
import { BUILT_IN, type Kind, NAMESPACES, NODES } from "./kinds.ts";
import { nameOfNew } from "./names.ts";
import { type JsonObject, type KubeObject, keyOf } from "./resource.ts";
import { type NodeStore, ObjectStore, Revision } from "./store.ts";

export interface ClusterOptions {
  /** How many changes of each kind the history keeps. Default 1000. */
  readonly historyLimit?: number | undefined;
  readonly nowMs: () => number;
  readonly newUid: () => string;
}

/** What a server makes by itself when it starts. */
const FIRST_NAMESPACES = ["default", "kube-node-lease", "kube-public", "kube-system"];

export class Cluster {
  readonly nodes: NodeStore;
  readonly events: EventStore;
  readonly #options: ClusterOptions;
  readonly #revision = new Revision();
  /** One for each kind that is served. */
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

  /** Serves a kind from now on, as the creation of a CustomResourceDefinition has it. */
  define(kind: Kind): ObjectStore {
    const store = new ObjectStore(kind, this.#storeOptions());
    this.#stores.push(store);
    return store;
  }

  /** Does not know the kind any more, and deletes its objects, as the deletion of a CustomResourceDefinition has it. */
  withdraw(plural: string): void {
    const store = this.of(plural);
    for (const { metadata } of store.list()) store.delete(keyOf(metadata));
    this.#stores.splice(this.#stores.indexOf(store), 1);
  }

  /** Throws where no such kind is served. */
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

  /** Whether the server knows any kind of this group and version. */
  hasGroup(group: string, version: string): boolean {
    return this.#stores.some(({ kind }) => kind.group === group && kind.version === version);
  }

  /** Deletes an object, and with a namespace all that is in it. Returns the last state. Throws 404. */
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
