/**
 * The pods of the cluster in classes: an identity for each set of terms that selects pods. Groups list the identities
 * that meet one of their conditions. Pods that no term selects have no identity; only their addresses match.
 */
import type { Labels } from "../cluster/policy/labels.ts";
import type { Pod } from "../cluster/policy/pod.ts";
import { matchesLabels } from "../cluster/policy/selector.ts";
import { type Address, isSameAddress } from "../ip/address.ts";
import type { PodGroupDraft } from "./decision-draft.ts";
import { addTo, type PeerFacts, PodGroups, removeFrom } from "./pod-groups.ts";
import type { KnownPod, PodIndex } from "./pod-index.ts";
import { Registry, type RegistryEntry } from "./registry.ts";
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

/** A pod with addresses, as it was when its identities were computed. */
interface Member {
  readonly known: KnownPod;
  readonly namespaceLabels: Labels;
  /** In the order of the addresses. Undefined: no term selects the address. */
  readonly entries: readonly (RegistryEntry<PeerFacts> | undefined)[];
}

/** The identity of an address becomes another one, because a rule distinguishes more pods, or fewer. */
export interface Refinement {
  readonly address: Address;
  readonly from: Identity | undefined;
  readonly to: Identity | undefined;
}

export class PeerClasses {
  readonly #index: PodIndex;
  readonly #identities = new Registry<PeerFacts>();
  /** By the key of a term. */
  readonly #identitiesByTerm = new Map<string, Set<RegistryEntry<PeerFacts>>>();
  /** By the key of the pod. */
  readonly #members = new Map<string, Member>();
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

  acquire(draft: PodGroupDraft): RegistryEntry<PodGroupDraft> {
    const group = this.#groups.acquire(draft);
    if (group.uses === 1) this.#eachTerm(draft, (terms, term) => terms.acquire(term));
    return group;
  }

  release(group: RegistryEntry<PodGroupDraft>): void {
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
  identityOf({ key }: KnownPod, address: Address): Identity | undefined {
    const member = this.#members.get(key);
    return member?.entries[member.known.addresses.findIndex((one) => isSameAddress(one, address))]?.number;
  }

  /**
   * Distinguishes pods by the terms of new groups. Marked pods are taken as they were before. Returns changes of groups,
   * which come first, and of identities.
   */
  refine(): { readonly groups: readonly PolicyChange[]; readonly peers: readonly Refinement[] } {
    const pods = this.#podTerms.takeAdded();
    const [blocks, ports] = [this.#blockTerms.takeAdded(), this.#portTerms.takeAdded()];
    for (const term of pods) this.#termsByNamespace.add(term);
    const found = new Map<string, PodTerm[]>();
    for (const term of pods) {
      for (const key of this.#membersFor(term)) found.set(key, [...(found.get(key) ?? []), term]);
    }
    const concerned =
      blocks.length + ports.length === 0
        ? found.keys()
        : [...this.#members]
            .filter(([key, { known }]) => found.has(key) || isConcerned(known, blocks, ports))
            .map(([key]) => key);
    const peers = [...concerned].flatMap((key) => {
      const terms = (found.get(key) ?? []).map((term) => term.key);
      return this.#refit(key, (facts, { address, pod }) => ({
        pods: union(facts.pods, [
          ...terms,
          ...blocks.filter((term) => matchesAddress(term, address)).map((term) => term.key),
        ]),
        ports: new Map([...facts.ports, ...numbersOf(ports, pod)]),
      }));
    });
    return { groups: this.#fillGroups(), peers };
  }

  /** Computes the identities of marked pods, and marks their addresses. Returns changes of groups. */
  move(): readonly PolicyChange[] {
    for (const key of this.#dirty) this.#identify(key);
    this.#dirty.clear();
    return this.#fillGroups();
  }

  /**
   * Removes groups without users, and no longer distinguishes pods by terms of removed groups. Returns changes of groups
   * before and after those of identities.
   */
  coarsen(): {
    readonly before: readonly PolicyChange[];
    readonly peers: readonly Refinement[];
    readonly after: readonly PolicyChange[];
  } {
    const gone = this.#groups.sweep();
    const removed = this.#podTerms.takeRemoved();
    for (const term of removed) this.#termsByNamespace.remove(term);
    const keys = new Set([...removed, ...this.#blockTerms.takeRemoved()].map(({ key }) => key));
    const ports = new Set(this.#portTerms.takeRemoved().map(({ key }) => key));
    const peers = keys.size + ports.size === 0 ? [] : this.#forget(keys, ports);
    const before = this.#fillGroups();
    for (const entry of this.#identities.sweep()) {
      this.#groups.removeIdentity(entry.number, entry.value);
      for (const term of entry.value.pods) removeFrom(this.#identitiesByTerm, term, entry);
    }
    const after = gone.map(({ number }): PolicyChange => ({ kind: "pods", number, identities: undefined }));
    return { before, peers, after: [...this.#groups.takeChanges(), ...after] };
  }

  #forget(terms: ReadonlySet<string>, ports: ReadonlySet<string>): Refinement[] {
    const isStale = ({ value }: RegistryEntry<PeerFacts>) =>
      intersects(value.pods, terms) || [...value.ports.keys()].some((key) => ports.has(key));
    const stale = new Set([...this.#identities.entries()].filter(isStale));
    return [...this.#members].flatMap(([key, { entries }]) =>
      entries.some((entry) => entry !== undefined && stale.has(entry))
        ? this.#refit(key, (facts) => ({
            pods: new Set([...facts.pods].filter((term) => !terms.has(term))),
            ports: new Map([...facts.ports].filter(([term]) => !ports.has(term))),
          }))
        : [],
    );
  }

  #refit(
    key: string,
    change: (facts: PeerFacts, at: { readonly address: Address; readonly pod: Pod }) => PeerFacts,
  ): Refinement[] {
    const member = this.#members.get(key);
    if (member === undefined) return [];
    const { known, entries: old } = member;
    // An address without an identity has numbers of named ports nevertheless.
    const unselected: PeerFacts = { pods: new Set(), ports: new Map(numbersOf([...this.#portTerms.all()], known.pod)) };
    const entries = known.addresses.map((address, at) =>
      this.#acquire(change(old[at]?.value ?? unselected, { address, pod: known.pod })),
    );
    this.#members.set(key, { ...member, entries });
    this.#releaseAll(old);
    return known.addresses.map((address, at) => ({ address, from: old[at]?.number, to: entries[at]?.number }));
  }

  #fillGroups(): readonly PolicyChange[] {
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
    return this.#groups.takeChanges();
  }

  /** Returns the keys of members that the term selects. A marked pod is taken as it was before. */
  *#membersFor(term: PodTerm): Generator<string> {
    const { namespaces } = term;
    for (const name of typeof namespaces === "string" ? [namespaces] : this.#index.namespacesInUse()) {
      if (typeof namespaces !== "string" && !matchesLabels(namespaces, this.#index.labelsOf(name))) continue;
      for (const key of this.#index.inNamespace(name)) if (!this.#dirty.has(key) && this.#selects(term, key)) yield key;
    }
    for (const key of this.#dirty) if (this.#selects(term, key)) yield key;
  }

  #selects(term: PodTerm, key: string): boolean {
    const member = this.#members.get(key);
    return member !== undefined && matchesPod(term, member.known.pod, member.namespaceLabels);
  }

  #identify(key: string): void {
    const old = this.#members.get(key);
    const known = this.#index.get(key);
    if (known === undefined || known.addresses.length === 0) this.#members.delete(key);
    else this.#members.set(key, this.#memberOf(known));
    this.#releaseAll(old?.entries ?? []);
    if (known !== undefined) this.#index.touch(known.addresses);
  }

  #memberOf(known: KnownPod): Member {
    const { pod, addresses } = known;
    const namespaceLabels = this.#index.labelsOf(pod.namespace);
    const terms: string[] = [];
    for (const term of this.#termsByNamespace.of(pod.namespace, namespaceLabels)) {
      if (matchesPod(term, pod, namespaceLabels)) terms.push(term.key);
    }
    const ports = new Map(numbersOf([...this.#portTerms.all()], pod));
    const blocks = [...this.#blockTerms.all()];
    const entries = addresses.map((address) => {
      const own = blocks.filter((term) => matchesAddress(term, address)).map((term) => term.key);
      return this.#acquire({ pods: new Set([...terms, ...own]), ports });
    });
    return { known, namespaceLabels, entries };
  }

  /** Addresses that no term selects need no identity. */
  #acquire(facts: PeerFacts): RegistryEntry<PeerFacts> | undefined {
    return facts.pods.size === 0 ? undefined : this.#identities.acquire(factsKey(facts), () => facts);
  }

  #releaseAll(entries: readonly (RegistryEntry<PeerFacts> | undefined)[]): void {
    for (const entry of entries) if (entry !== undefined) this.#identities.release(entry);
  }

  #eachTerm({ conditions }: PodGroupDraft, visit: <T extends Term>(terms: Terms<T>, term: T) => void): void {
    for (const { term, port } of conditions) {
      if (term.kind === "pods") visit(this.#podTerms, term);
      else visit(this.#blockTerms, term);
      if (port !== undefined) visit(this.#portTerms, port.term);
    }
  }
}

function isConcerned(
  { pod, addresses }: KnownPod,
  blocks: readonly BlockTerm[],
  ports: readonly PortNameTerm[],
): boolean {
  const isInBlock = (address: Address) => blocks.some((term) => matchesAddress(term, address));
  return addresses.some(isInBlock) || ports.some((term) => resolvePort(term, pod) !== undefined);
}

function numbersOf(terms: readonly PortNameTerm[], pod: Pod): [string, number][] {
  return terms.flatMap((term): [string, number][] => {
    const number = resolvePort(term, pod);
    return number === undefined ? [] : [[term.key, number]];
  });
}

function union(a: ReadonlySet<string>, b: readonly string[]): ReadonlySet<string> {
  return b.length === 0 ? a : new Set([...a, ...b]);
}

function intersects(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  for (const one of small) if (large.has(one)) return true;
  return false;
}

function factsKey({ pods, ports }: PeerFacts): string {
  return JSON.stringify([[...pods].sort(), [...ports].sort()]);
}
