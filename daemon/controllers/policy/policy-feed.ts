/** Passes the changes from the stores of policies, Namespaces and Pods to the `PolicyMap`. */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { Pod } from "../../../pkg/cluster/policy/pod.ts";
import type { StoreNotice } from "../../../pkg/cluster/store.ts";
import type { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import type { PolicySource } from "../../sources/policy-source.ts";
import type { ObjectSource } from "../../sources/service-source.ts";

/**
 * How long the map keeps a pod that weftd has read singly and that the watch has not delivered. Watches are late by less
 * than this, so a pod that is still missing no longer exists.
 */
const READ_AHEAD_MS = 60_000;

export interface PolicyFeedParts {
  readonly source: PolicySource;
  readonly map: Pick<PolicyMap, "setPolicy" | "setClusterPolicy" | "setNamespace" | "setPod" | "hasPolicies">;
  readonly clock: Pick<Clock, "nowMs" | "setTimer">;
  /** Called after any change, even if only of a store's status. */
  readonly onChange: () => void;
}

/** Received changes that are not programmed yet. */
export interface PendingChanges {
  /** The arrival time of the first change; undefined if there is none. */
  readonly sinceMs: number | undefined;
  /** The number of changed objects. */
  readonly objects: number;
}

const NOTHING_PENDING: PendingChanges = { sinceMs: undefined, objects: 0 };

const KINDS = { policies: "NetworkPolicies", clusterPolicies: "ClusterNetworkPolicies" } as const;
const POD_KINDS = { namespaces: "Namespaces", pods: "Pods" } as const;
type Kind = keyof typeof KINDS | keyof typeof POD_KINDS;

export class PolicyFeed {
  readonly #parts: PolicyFeedParts;
  readonly #unsubscribe: readonly (() => void)[];
  #heard = NOTHING_PENDING;
  #needsPods = false;
  /** Kinds whose listed objects are all in the map. A store's `hasSynced` becomes true earlier. */
  readonly #listed = new Set<Kind>();
  /** Pods that were read by themselves and that the watch has not delivered yet, with the ends of their timers. */
  readonly #readAhead = new Map<string, { readonly pod: Pod; readonly cancel: () => void }>();

  constructor(parts: PolicyFeedParts) {
    const { source, map } = parts;
    this.#parts = parts;
    this.#unsubscribe = [
      this.#follow("policies", source.policies, (key, policy) => map.setPolicy(key, policy)),
      this.#follow("clusterPolicies", source.clusterPolicies, (key, policy) => map.setClusterPolicy(key, policy)),
      this.#follow("namespaces", source.namespaces, (key, namespace) => map.setNamespace(key, namespace)),
      this.#follow("pods", source.pods, (key, pod) => this.#podChanged(key, pod)),
    ];
  }

  /** True if all policies of the cluster are known, so that a missing one does not exist. */
  get knowsPolicies(): boolean {
    return this.#listed.has("policies") && this.#listed.has("clusterPolicies");
  }

  /** True if everything that the policies need is known. Without policies, they need no pods. */
  get isSynced(): boolean {
    return this.knowsPolicies && (!this.#needsPods || this.knowsPods);
  }

  get knowsPods(): boolean {
    return this.#listed.has("namespaces") && this.#listed.has("pods");
  }

  /** Returns the kinds that are not listed yet, with the reason if there is one. */
  missing(): readonly string[] {
    return this.#kinds().flatMap(([kind, name]) => {
      if (this.#listed.has(kind)) return [];
      const { reason } = this.#parts.source[kind].status;
      return [`${name} are not listed yet${reason === undefined ? "" : `: ${reason}`}`];
    });
  }

  /** Returns why the programmed state may be outdated, one line for each kind of object. */
  warnings(): readonly string[] {
    return this.#kinds().flatMap(([kind, name]) => {
      const { phase, reason } = this.#parts.source[kind].status;
      return phase === "stale" && this.#listed.has(kind)
        ? [`${name} cannot be watched; the programmed policies stay: ${reason}`]
        : [];
    });
  }

  get heard(): PendingChanges {
    return this.#heard;
  }

  /** Returns and clears the changes that a sync beginning now will program. */
  take(): PendingChanges {
    const taken = this.#heard;
    this.#heard = NOTHING_PENDING;
    return taken;
  }

  /** Restores the changes after a failed sync. */
  giveBack(taken: PendingChanges): void {
    this.#heard = joined(taken, this.#heard);
  }

  /** Adds a pod that was read from the API server before the watch has delivered it. */
  readAhead(key: string, pod: Pod): void {
    const { source, map, clock, onChange } = this.#parts;
    if (source.pods.get(key)?.uid === pod.uid) return;
    this.#readAhead.get(key)?.cancel();
    const cancel = clock.setTimer(READ_AHEAD_MS, () => {
      this.#readAhead.delete(key);
      map.setPod(key, source.pods.get(key)?.value);
      onChange();
    });
    this.#readAhead.set(key, { pod, cancel });
    map.setPod(key, pod);
    this.#note(1);
    onChange();
  }

  /** Returns the UID of the present pod with this key. */
  uidOf(key: string): string | undefined {
    return (this.#readAhead.get(key)?.pod ?? this.#parts.source.pods.get(key)?.value)?.uid;
  }

  stop(): void {
    for (const end of this.#unsubscribe) end();
    for (const { cancel } of this.#readAhead.values()) cancel();
  }

  #kinds(): readonly (readonly [Kind, string])[] {
    return Object.entries(this.#needsPods ? { ...KINDS, ...POD_KINDS } : KINDS) as [Kind, string][];
  }

  #follow<T>(kind: Kind, store: ObjectSource<T>, set: (key: string, value: T | undefined) => void): () => void {
    return store.subscribe(({ changes, status }: StoreNotice<T>) => {
      for (const { key, after } of changes) set(key, after?.value);
      this.#note(changes.length);
      if (status.hasSynced) this.#listed.add(kind);
      this.#requirePods();
      this.#parts.onChange();
    });
  }

  /** Lists the cluster's pods from the first policy on. They stay listed, because policies come back. */
  #requirePods(): void {
    const { source, map } = this.#parts;
    if (this.#needsPods || !map.hasPolicies) return;
    this.#needsPods = true;
    source.startPods();
  }

  /** The watch may still deliver the end of an earlier pod of the same name. */
  #podChanged(key: string, pod: Pod | undefined): void {
    const ahead = this.#readAhead.get(key);
    if (ahead !== undefined && ahead.pod.uid !== pod?.uid) return;
    ahead?.cancel();
    this.#readAhead.delete(key);
    this.#parts.map.setPod(key, pod);
  }

  #note(objects: number): void {
    if (objects === 0) return;
    this.#heard = joined(this.#heard, { sinceMs: this.#parts.clock.nowMs(), objects });
  }
}

function joined(a: PendingChanges, b: PendingChanges): PendingChanges {
  return { sinceMs: a.sinceMs ?? b.sinceMs, objects: a.objects + b.objects };
}
