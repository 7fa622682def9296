/**
 * Objects of one kind with versions and a bounded history: the part of etcd that clients can see. Pure except for the
 * clock and the source of uids, which are parameters.
 *
 * One counter numbers every change of all kinds, like etcd's revision. The history holds the last changes with the
 * object before and after. This is sufficient for both requests about the past: the changes since version N (watch),
 * and the set at version N (the later pages of a list).
 */
import { apiVersionOf, type Kind } from "./kinds.ts";
import { isSameJson, type KubeObject, keyOf, type NodeObject, type ObjectInput } from "./resource.ts";
import { alreadyExists, conflict, notFound, tooLarge, tooOld } from "./status.ts";

export interface Change<Stored extends KubeObject = KubeObject> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  /** After the change; for DELETED the last state, with the version of the deletion. */
  readonly object: Stored;
  /** Before the change; absent for ADDED. */
  readonly before?: Stored;
}

export interface StoreOptions {
  readonly revision: Revision;
  /** The number of changes in the history. */
  readonly historyLimit?: number;
  readonly nowMs: () => number;
  readonly newUid: () => string;
}

/** The version of the last change of any object. */
export class Revision {
  current: number;

  /** `first`: the version before the first change. */
  constructor(first = 1) {
    this.current = first;
  }

  /** Counts a change in the cluster. Returns its version. */
  advance(): number {
    this.current += 1;
    return this.current;
  }
}

export type NodeStore = ObjectStore<NodeObject>;

export class ObjectStore<Stored extends KubeObject = KubeObject> {
  readonly kind: Kind<Stored>;
  readonly #objects = new Map<string, Stored>();
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #options: StoreOptions;
  #history: Change<Stored>[] = [];
  #horizon: number;

  constructor(kind: Kind<Stored>, options: StoreOptions) {
    this.kind = kind;
    this.#options = options;
    this.#horizon = options.revision.current;
  }

  /** The version of the last change of any object, of this kind or another. */
  get version(): number {
    return this.#options.revision.current;
  }

  /** The oldest version since which all changes are stored. */
  get horizon(): number {
    return this.#horizon;
  }

  /** By "namespace/name", or the name alone. Throws 404. */
  get(key: string): Stored {
    const object = this.#objects.get(key);
    if (object === undefined) throw notFound(this.kind, nameOf(key));
    return object;
  }

  has(key: string): boolean {
    return this.#objects.has(key);
  }

  /**
   * The set in the order of keys, now or at `version`. Throws 410 if the history does not reach back that far, 504 if
   * the version is in the future.
   */
  list(version = this.version): Stored[] {
    if (version > this.version) throw tooLarge(version, this.version);
    if (version < this.#horizon) throw tooOld(version, this.#horizon);
    const objects = new Map(this.#objects);
    for (const change of this.#history.toReversed()) {
      if (change.version <= version) break;
      const key = keyOf(change.object.metadata);
      if (change.before === undefined) objects.delete(key);
      else objects.set(key, change.before);
    }
    return [...objects].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /** The changes after `version`, oldest first. Throws 410 if some of them are no longer stored. */
  changesSince(version: number): Change<Stored>[] {
    if (version < this.#horizon) throw tooOld(version, this.#horizon);
    return this.#history.filter((change) => change.version > version);
  }

  /** Throws 409 if the name is taken. */
  create(input: ObjectInput): Stored {
    const key = keyOf(input.metadata);
    if (this.#objects.has(key)) throw alreadyExists(this.kind, nameOf(key));
    const generation = this.kind.hasGeneration ? { generation: 1 } : {};
    const identity = { ...generation, uid: this.#options.newUid(), creationTimestamp: this.#time() };
    const version = this.version + 1;
    const metadata = { ...input.metadata, ...identity, resourceVersion: String(version) };
    const object = this.#complete({ ...input, metadata });
    this.#commit({ type: "ADDED", version, object });
    return object;
  }

  /**
   * Replaces an object by the result of `edit`. Name, uid and creation time stay. An edit that changes nothing gets no
   * version and no event. If `edit` sets a resourceVersion or uid that differs from the object's, the writer saw
   * another state: 409. A missing or empty one is no condition. An object marked for deletion is removed with its last
   * finalizer. Throws 404.
   */
  update(key: string, edit: (object: Stored) => ObjectInput): Stored {
    const before = this.get(key);
    const edited = edit(before);
    const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp, generation } = before.metadata;
    const seen = edited.metadata;
    if ((seen.resourceVersion || resourceVersion) !== resourceVersion || (seen.uid || uid) !== uid)
      throw conflict(this.kind, name);
    const kept = { name, namespace, uid, creationTimestamp, deletionTimestamp, generation, resourceVersion };
    const unchanged = this.#complete({ ...edited, metadata: { ...seen, ...withoutUndefined(kept) } });
    if (isSameJson(unchanged, before)) return before;
    if (deletionTimestamp !== undefined && !unchanged.metadata.finalizers?.length) return this.#remove(before);
    const isCounted = generation !== undefined && !isSameJson(contentOf(unchanged), contentOf(before));
    return this.#modify(before, {
      ...unchanged,
      metadata: { ...unchanged.metadata, ...(isCounted ? { generation: generation + 1 } : {}) },
    });
  }

  /**
   * Returns the last state. An object with finalizers is only marked, and removed with the last of them. Throws 404.
   */
  delete(key: string): Stored {
    const before = this.get(key);
    if (!before.metadata.finalizers?.length) return this.#remove(before);
    if (before.metadata.deletionTimestamp !== undefined) return before;
    return this.#modify(before, { ...before, metadata: { ...before.metadata, deletionTimestamp: this.#time() } });
  }

  /**
   * Adopts objects of another server with their uids and versions, without an event. The counter advances to that
   * version. The past of such objects is unknown, so the history starts again.
   */
  seed(objects: readonly ObjectInput[], version: number): void {
    for (const input of objects) this.#objects.set(keyOf(input.metadata), this.#complete(input));
    const { revision } = this.#options;
    revision.current = Math.max(revision.current, version);
    this.compact();
  }

  /** Another object in the cluster changed: advances the counter. Returns the new version. */
  advance(): number {
    return this.#options.revision.advance();
  }

  /** Discards the whole history, like etcd's compaction: every older version is 410 from now on. */
  compact(): void {
    this.#history = [];
    this.#horizon = this.version;
  }

  /** Calls `listener` on every later change, after it is stored. Returns the function that ends it. */
  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Adds the fields that the encoder always writes, and drops empty maps like Go's omitempty. */
  #complete(input: ObjectInput): Stored {
    const metadata = { ...input.metadata };
    for (const key of ["labels", "annotations", "finalizers"]) {
      const map = metadata[key];
      if (map !== undefined && map !== null && Object.keys(map).length === 0) delete metadata[key];
    }
    const object = { ...input, kind: this.kind.kind, apiVersion: apiVersionOf(this.kind), metadata };
    const key = keyOf(metadata);
    const others = () => [...this.#objects].filter(([other]) => other !== key).map(([, stored]) => stored);
    return this.kind.complete(object, others);
  }

  #modify(before: Stored, after: Stored): Stored {
    const version = this.version + 1;
    const object = { ...after, metadata: { ...after.metadata, resourceVersion: String(version) } };
    this.#commit({ type: "MODIFIED", version, object, before });
    return object;
  }

  #remove(before: Stored): Stored {
    const version = this.version + 1;
    const object = { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } };
    this.#commit({ type: "DELETED", version, object, before });
    return before;
  }

  #commit(change: Change<Stored>): void {
    const key = keyOf(change.object.metadata);
    if (change.type === "DELETED") this.#objects.delete(key);
    else this.#objects.set(key, change.object);
    this.#options.revision.current = change.version;
    this.#history.push(change);
    const surplus = this.#history.length - (this.#options.historyLimit ?? 1000);
    for (const dropped of this.#history.splice(0, Math.max(0, surplus))) this.#horizon = dropped.version;
    for (const listener of this.#listeners) listener(change);
  }

  #time(): string {
    return new Date(this.#options.nowMs()).toISOString().replace(/\.\d+Z$/, "Z");
  }
}

function nameOf(key: string): string {
  return key.slice(key.indexOf("/") + 1);
}

/** The part of an object that `metadata.generation` counts. */
function contentOf({ metadata, status, ...content }: KubeObject): Omit<KubeObject, "metadata" | "status"> {
  return content;
}

function withoutUndefined<Fields extends object>(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Fields;
}
