/**
 * The pods of the cluster in classes: an identity for each set of terms that selects pods. Groups list the identities
 * that meet one of their conditions. Pods that no term selects have no identity; only their addresses match.
 */
import { type Address, isSameAddress } from "../ip/address.ts";
import type { PodGroupDraft } from "./decision-draft.ts";
import { addTo, type Facts, PodGroups, removeFrom } from "./pod-groups.ts";
import type { KnownPod, PodIndex } from "./pod-index.ts";
import { type Entry, Registry } from "./registry.ts";
import type { Identity, PolicyChange } from "./state.ts";
import {
  ANY_POD,
  type BlockTerm,
  matchesAddress,
  matchesPod,
  type PodTerm,
  type PortNameTerm,
  resolvePort,
  type Term,
} from "./term.ts";
import { Terms, TermsByNamespace } from "./terms.ts";

export class PeerClasses {
  readonly #index: PodIndex;
  readonly #identities = new Registry<Facts>();
  /** By the key of a term. */
  readonly #identitiesByTerm = new Map<string, Set<Entry<Facts>>>();
  /** Identities of pods that have any, by the key of the pod and in the order of its addresses. */
  readonly #members = new Map<string, readonly (Entry<Facts> | undefined)[]>();
  readonly #groups = new PodGroups();
  readonly #podTerms = new Terms<PodTerm>();
  /** Blocks of rules that name a port: they match pods by address. */
  readonly #blockTerms = new Terms<BlockTerm>();
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

  /** Returns the identity of an address of a pod. */
  identityOf({ key, addresses }: KnownPod, address: Address): Identity | undefined {
    return this.#members.get(key)?.[addresses.findIndex((one) => isSameAddress(one, address))]?.number;
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
    const [ports, blocks] = [this.#portTerms.take(), this.#blockTerms.take()];
    for (const term of blocks.removed) this.#markMembers(term);
    if (blocks.added.length > 0) this.#markIf(({ addresses }) => hasAddressIn(addresses, blocks.added));
    const names = [...ports.added, ...ports.removed];
    if (names.length > 0) this.#markIf(({ pod }) => names.some((term) => resolvePort(term, pod) !== undefined));
  }

  #markIf(isConcerned: (known: KnownPod) => boolean): void {
    for (const known of this.#index.all()) if (isConcerned(known)) this.#dirty.add(known.key);
  }

  #markMembers({ key: term }: PodTerm | BlockTerm): void {
    for (const [pod, entries] of this.#members) {
      if (entries.some((entry) => entry?.value.pods.has(term))) this.#dirty.add(pod);
    }
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
    const old = this.#members.get(key) ?? [];
    const known = this.#index.get(key);
    const entries = known === undefined ? [] : this.#entriesOf(known);
    for (const entry of old) if (entry !== undefined) this.#identities.release(entry);
    if (entries.every((entry) => entry === undefined)) this.#members.delete(key);
    else this.#members.set(key, entries);
    if (known !== undefined) this.#index.touch(known.addresses);
  }

  #entriesOf(known: KnownPod): (Entry<Facts> | undefined)[] {
    if (known.addresses.length === 0) return [];
    const { pod, addresses } = known;
    const labels = this.#index.labelsOf(pod.namespace);
    const terms: string[] = [];
    for (const term of this.#termsByNamespace.of(pod.namespace, labels)) {
      if (matchesPod(term, pod, labels)) terms.push(term.key);
    }
    const ports = new Map<string, number>();
    for (const term of this.#portTerms.all()) {
      const number = resolvePort(term, pod);
      if (number !== undefined) ports.set(term.key, number);
    }
    return addresses.map((address) => {
      const blocks = [...this.#blockTerms.all()].filter((term) => matchesAddress(term, address));
      const facts = { pods: new Set([...terms, ...blocks.map((block) => block.key)]), ports };
      return facts.pods.size === 0 ? undefined : this.#identities.acquire(factsKey(facts), () => facts);
    });
  }

  #eachTerm({ conditions }: PodGroupDraft, visit: <T extends Term>(terms: Terms<T>, term: T) => void): void {
    for (const { term, port } of conditions) {
      if (term.kind === "pods") visit(this.#podTerms, term);
      else visit(this.#blockTerms, term);
      if (port !== undefined) visit(this.#portTerms, port.term);
    }
  }
}

function factsKey({ pods, ports }: Facts): string {
  return JSON.stringify([[...pods].sort(), [...ports].sort()]);
}

function hasAddressIn(addresses: readonly Address[], terms: readonly BlockTerm[]): boolean {
  return addresses.some((address) => terms.some((term) => matchesAddress(term, address)));
}
