/**
 * Nodes with versions and a bounded history: the part of etcd that clients can see. Pure but for the clock and the
 * source of uids, which are parameters.
 *
 * One counter numbers every change, as etcd's revision does. The history holds the last changes with the object before
 * and after, which is enough for both things a client may ask about the past: what happened since version N (watch),
 * and how the set looked at version N (the later pages of a list).
 */
import { completeNode, isSameJson, type NodeInput, type NodeObject } from "./resource.ts";
import { alreadyExists, conflict, nodeNotFound, tooLarge, tooOld } from "./status.ts";

export interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  /** After the change; for DELETED the last state, with the version of the deletion. */
  readonly node: NodeObject;
  /** Before the change; absent for ADDED. */
  readonly before?: NodeObject;
}

export interface StoreOptions {
  /** Version before the first change. */
  readonly firstVersion?: number;
  /** How many changes the history keeps. */
  readonly historyLimit?: number;
  readonly nowMs: () => number;
  readonly newUid: () => string;
}

export class NodeStore {
  readonly #nodes = new Map<string, NodeObject>();
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #options: StoreOptions;
  #history: Change[] = [];
  #version: number;
  #horizon: number;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#version = options.firstVersion ?? 1;
    this.#horizon = this.#version;
  }

  /** The version of the last change. */
  get version(): number {
    return this.#version;
  }

  /** The oldest version from which the changes are still known. */
  get horizon(): number {
    return this.#horizon;
  }

  /** Throws 404. */
  get(name: string): NodeObject {
    const node = this.#nodes.get(name);
    if (node === undefined) throw nodeNotFound(name);
    return node;
  }

  /**
   * The set in the order of names, now or as it was at `version`. Throws 410 when the history no longer reaches back
   * that far, 504 when it has not come that far.
   */
  list(version = this.#version): NodeObject[] {
    if (version > this.#version) throw tooLarge(version, this.#version);
    if (version < this.#horizon) throw tooOld(version, this.#horizon);
    const nodes = new Map(this.#nodes);
    for (const change of this.#history.toReversed()) {
      if (change.version <= version) break;
      if (change.before === undefined) nodes.delete(change.node.metadata.name);
      else nodes.set(change.node.metadata.name, change.before);
    }
    return [...nodes.values()].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  /** The changes after `version`, oldest first. Throws 410 when some of them are gone. */
  changesSince(version: number): Change[] {
    if (version < this.#horizon) throw tooOld(version, this.#horizon);
    return this.#history.filter((change) => change.version > version);
  }

  /** Throws 409 when the name is taken. */
  create(input: NodeInput): NodeObject {
    const { name } = input.metadata;
    if (this.#nodes.has(name)) throw alreadyExists(name);
    const version = this.#version + 1;
    const creationTimestamp = new Date(this.#options.nowMs()).toISOString().replace(/\.\d+Z$/, "Z");
    const metadata = { ...input.metadata, uid: this.#options.newUid(), creationTimestamp };
    const node = completeNode({ ...input, metadata: { ...metadata, resourceVersion: String(version) } });
    this.#commit({ type: "ADDED", version, node });
    return node;
  }

  /**
   * Replaces a Node by what `edit` makes of it. Name, uid and creation time stay; an edit that changes nothing gets no
   * version and no event. Where `edit` sets another resourceVersion or uid than the Node has, the writer saw another
   * state: 409. None, or an empty one, is no condition. Throws 404.
   */
  update(name: string, edit: (node: NodeObject) => NodeInput): NodeObject {
    const before = this.get(name);
    const edited = edit(before);
    const { uid, resourceVersion, creationTimestamp } = before.metadata as Required<typeof before.metadata>;
    const seen = edited.metadata;
    if ((seen.resourceVersion || resourceVersion) !== resourceVersion || (seen.uid || uid) !== uid)
      throw conflict(name);
    const metadata = { ...seen, name, uid, creationTimestamp, resourceVersion };
    const unchanged = completeNode({ ...edited, metadata });
    if (isSameJson(unchanged, before)) return before;
    const version = this.#version + 1;
    const node = { ...unchanged, metadata: { ...unchanged.metadata, resourceVersion: String(version) } };
    this.#commit({ type: "MODIFIED", version, node, before });
    return node;
  }

  /** Throws 404. Returns the last state. */
  delete(name: string): NodeObject {
    const before = this.get(name);
    const version = this.#version + 1;
    const node = { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } };
    this.#commit({ type: "DELETED", version, node, before });
    return before;
  }

  /**
   * Takes a Node over as another server left it, with its uid and version, without an event. The counter moves up to
   * that version; the past of such a Node is unknown, so the history starts anew.
   */
  seed(nodes: readonly NodeInput[], version: number): void {
    for (const input of nodes) this.#nodes.set(input.metadata.name, completeNode(input));
    this.#version = Math.max(this.#version, version);
    this.compact();
  }

  /** Something else in the cluster changed: the counter moves on. Returns the new version. */
  advance(): number {
    this.#version += 1;
    return this.#version;
  }

  /** Forgets the whole history, as etcd's compaction does: every older version is 410 from now on. */
  compact(): void {
    this.#history = [];
    this.#horizon = this.#version;
  }

  /** Calls `listener` on every later change, after it is stored. Returns the function that ends it. */
  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #commit(change: Change): void {
    const { name } = change.node.metadata;
    if (change.type === "DELETED") this.#nodes.delete(name);
    else this.#nodes.set(name, change.node);
    this.#version = change.version;
    this.#history.push(change);
    const surplus = this.#history.length - (this.#options.historyLimit ?? 1000);
    for (const dropped of this.#history.splice(0, Math.max(0, surplus))) this.#horizon = dropped.version;
    for (const listener of this.#listeners) listener(change);
  }
}
