/**
 * The pods of the cluster in classes: an identity for each set of terms that selects pods. Groups list the identities
 * that meet one of their conditions. Pods that no term selects have no identity; only their addresses match.
 */
import type { PodGroupDraft } from "./decision-draft.ts";
import { addTo, type Facts, PodGroups, removeFrom } from "./pod-groups.ts";
import type { KnownPod, PodIndex } from "./pod-index.ts";
import { type Entry, Registry } from "./registry.ts";
import type { Identity, PolicyChange } from "./state.ts";
import { ANY_POD, matchesPod, type PodTerm, type PortNameTerm, resolvePort } from "./term.ts";
import { Terms, TermsByNamespace } from "./terms.ts";

export class PeerClasses {
  readonly #index: PodIndex;
  readonly #identities = new Registry<Facts>();
  /** By the key of a pod term. */
  readonly #identitiesByTerm = new Map<string, Set<Entry<Facts>>>();
  /** Identities of pods, by the key of the pod. */
  readonly #members = new Map<string, Entry<Facts>>();
  readonly #groups = new PodGroups();
  readonly #podTerms = new Terms<PodTerm>();
  readonly #portTerms = new Terms<PortNameTerm>();
  readonly #termsByNamespace = new TermsByNamespace();
  readonly #dirty = new Set<string>();

  constructor(index: PodIndex) {
    this.#index = index;
  }

  get size(): number {
    return this.#identities.size;
  }

  /** Marks a pod that was set, removed or attached. */
  markPod(key: string): void {
    this.#dirty.add(key);
  }

  /** Marks a namespace whose labels changed. */
  markNamespace(name: string): void {
    this.#termsByNamespace.invalidate(name);
    for (const key of this.#index.inNamespace(name)) this.#dirty.add(key);
  }

  acquire(draft: PodGroupDraft): Entry<PodGroupDraft> {
    const group = this.#groups.acquire(draft);
    if (group.uses === 1) this.#eachTerm(draft, (terms, term) => terms.acquire(term));
    return group;
  }

  release(group: Entry<PodGroupDraft>): void {
    this.#groups.release(group);
    if (group.uses === 0) this.#eachTerm(group.value, (terms, term) => terms.release(term));
  }

  /** Counts a user of the group of all pods. */
  acquireAll(): void {
    this.#podTerms.acquire(ANY_POD);
  }

  releaseAll(): void {
    this.#podTerms.release(ANY_POD);
  }

  /** Returns the identity of a pod's addresses. */
  identityOf({ key }: KnownPod): Identity | undefined {
    return this.#members.get(key)?.number;
  }

  /**
   * Updates the identities of pods, and marks the addresses of pods whose identity changed. Returns the changes of
   * groups. `before`: what peers and profiles need. `after`: what they need no longer.
   */
  changes(): { readonly before: PolicyChange[]; readonly after: PolicyChange[] } {
    const gone = this.#groups.sweep();
    this.#matchChangedTerms();
    for (const key of this.#dirty) this.#identify(key);
    this.#dirty.clear();
    this.#fillGroups();
    const before = this.#groups.takeChanges();
    for (const entry of this.#identities.sweep()) {
      this.#groups.removeIdentity(entry.number, entry.value);
      for (const term of entry.value.pods) removeFrom(this.#identitiesByTerm, term, entry);
    }
    return {
      before,
      after: [
        ...this.#groups.takeChanges(),
        ...gone.map(({ number }): PolicyChange => ({ kind: "pods", number, identities: undefined })),
      ],
    };
  }

  #fillGroups(): void {
    const identities = this.#identities.takeAdded();
    for (const entry of identities) {
      for (const term of entry.value.pods) addTo(this.#identitiesByTerm, term, entry);
    }
    for (const { number, value } of identities) this.#groups.addIdentity(number, value);
    for (const group of this.#groups.takeAdded()) {
      const terms = new Set(group.value.conditions.map(({ term }) => term.key));
      for (const term of terms) {
        for (const { number, value } of this.#identitiesByTerm.get(term) ?? []) {
          this.#groups.addIdentityTo(group, number, value);
        }
      }
    }
  }

  /** Marks the pods that a new term selects, and those that a removed term selected. */
  #matchChangedTerms(): void {
    const { added, removed } = this.#podTerms.take();
    for (const term of removed) {
      this.#termsByNamespace.remove(term);
      this.#markMembers(term);
    }
    for (const term of added) {
      this.#termsByNamespace.add(term);
      for (const key of this.#candidatesOf(term))
        if (!this.#dirty.has(key) && this.#selects(term, key)) this.#dirty.add(key);
    }
    const ports = this.#portTerms.take();
    const changedPorts = [...ports.added, ...ports.removed];
    if (changedPorts.length === 0) return;
    for (const key of this.#members.keys()) {
      const pod = this.#index.get(key)?.pod;
      if (pod !== undefined && changedPorts.some((term) => resolvePort(term, pod) !== undefined)) this.#dirty.add(key);
    }
  }

  #markMembers({ key: term }: PodTerm): void {
    for (const [pod, { value }] of this.#members) if (value.pods.has(term)) this.#dirty.add(pod);
  }

  *#candidatesOf({ namespaces }: PodTerm): Generator<string> {
    const names = typeof namespaces === "string" ? [namespaces] : this.#index.namespacesInUse();
    for (const name of names) yield* this.#index.inNamespace(name);
  }

  #selects(term: PodTerm, key: string): boolean {
    const known = this.#index.get(key);
    return known !== undefined && matchesPod(term, known.pod, this.#index.labelsOf(known.pod.namespace));
  }

  #identify(key: string): void {
    const old = this.#members.get(key);
    const known = this.#index.get(key);
    const facts = known === undefined || known.addresses.length === 0 ? undefined : this.#factsOf(known);
    const entry = facts && this.#identities.acquire(factsKey(facts), () => facts);
    if (old !== undefined) this.#identities.release(old);
    if (entry === undefined) this.#members.delete(key);
    else this.#members.set(key, entry);
    if (old !== entry && known !== undefined) this.#index.touch(known.addresses);
  }

  #factsOf({ pod }: KnownPod): Facts | undefined {
    const labels = this.#index.labelsOf(pod.namespace);
    const pods = new Set<string>();
    for (const term of this.#termsByNamespace.of(pod.namespace, labels)) {
      if (matchesPod(term, pod, labels)) pods.add(term.key);
    }
    if (pods.size === 0) return undefined;
    const ports = new Map<string, number>();
    for (const term of this.#portTerms.all()) {
      const number = resolvePort(term, pod);
      if (number !== undefined) ports.set(term.key, number);
    }
    return { pods, ports };
  }

  #eachTerm(
    { conditions }: PodGroupDraft,
    visit: <T extends PodTerm | PortNameTerm>(terms: Terms<T>, term: T) => void,
  ): void {
    for (const { term, port } of conditions) {
      visit(this.#podTerms, term);
      if (port !== undefined) visit(this.#portTerms, port.term);
    }
  }
}

function factsKey({ pods, ports }: Facts): string {
  return JSON.stringify([[...pods].sort(), [...ports].sort()]);
}
