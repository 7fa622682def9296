/**
 * The pods of the cluster in classes: an identity for each set of terms that pods match. Groups list the identities that meet
 * one of their conditions. Pods that match no term have no identity, and are judged by their address alone.
 */
import { type Labels, NO_LABELS } from "../cluster/policy/labels.ts";
import type { NamedPort, Pod } from "../cluster/policy/pod.ts";
import { type Address, addressKey } from "../ip/address.ts";
import { AddressOwners } from "./address-owners.ts";
import type { PodCondition, PodGroupDraft } from "./profile.ts";
import { type Entry, Registry } from "./registry.ts";
import type { Identity, PolicyChange } from "./state.ts";
import { ANY_POD, matchesPod, type PodTerm, type PortNameTerm, portNameTerm, resolvePort } from "./term.ts";

interface PeerPod {
  readonly pod: Pod;
  /** Keys of the pod terms that it matches. */
  terms: ReadonlySet<string>;
  /** By the key of its address. */
  readonly identities: Map<string, { readonly address: Address; readonly entry: Entry<Facts> }>;
}

/** All that conditions ask of a peer. */
interface Facts {
  readonly pods: ReadonlySet<string>;
  readonly ports: ReadonlyMap<string, number>;
}

interface GroupState {
  readonly draft: PodGroupDraft;
  readonly identities: Set<Identity>;
}

export class PeerClasses {
  readonly #namespaces = new Map<string, Labels>();
  readonly #pods = new Map<string, PeerPod>();
  readonly #podsByNamespace = new Map<string, Set<string>>();
  readonly #identities = new Registry<Facts>();
  readonly #groups = new Registry<PodGroupDraft>();
  readonly #states = new Map<number, GroupState>();
  readonly #podTerms = new Terms<PodTerm>();
  readonly #portTerms = new Terms<PortNameTerm>();
  /** The number of pods of the cluster that have each number for a port name, by the key of the term. */
  readonly #portNumbers = new Map<string, Map<number, number>>();
  readonly #changedNames = new Map<string, PortNameTerm>();
  readonly #owners = new AddressOwners<Identity>();
  readonly #dirty = new Set<string>();

  setNamespace(name: string, labels: Labels): void {
    this.#namespaces.set(name, labels);
    for (const key of this.#podsByNamespace.get(name) ?? []) this.#dirty.add(key);
  }

  setPod(key: string, pod: Pod | undefined): void {
    const before = this.#pods.get(key);
    for (const port of countedPorts(before?.pod)) this.#count(port, -1);
    for (const port of countedPorts(pod)) this.#count(port, 1);
    const namespace = (pod ?? before?.pod)?.namespace;
    if (namespace === undefined) return;
    const keys = this.#podsByNamespace.get(namespace) ?? new Set();
    this.#podsByNamespace.set(namespace, keys);
    keys.add(key);
    const gone: Pod | undefined = before && { ...before.pod, addresses: [], hasEnded: true };
    const now = pod ?? gone;
    if (now === undefined) return;
    this.#pods.set(key, { pod: now, terms: before?.terms ?? new Set(), identities: before?.identities ?? new Map() });
    if (pod === undefined) this.#removed.add(key);
    else this.#removed.delete(key);
    this.#dirty.add(key);
  }

  readonly #removed = new Set<string>();

  /** The numbers that pods have for a port name. */
  numbersOf(term: PortNameTerm): Iterable<number> {
    return this.#portNumbers.get(term.key)?.keys() ?? [];
  }

  /** Port names for which the set of numbers changed since the last call. */
  takeChangedPortNames(): PortNameTerm[] {
    const changed = [...this.#changedNames.values()];
    this.#changedNames.clear();
    return changed;
  }

  acquire(draft: PodGroupDraft | "all"): Entry<PodGroupDraft> | "all" {
    if (draft === "all") {
      this.#podTerms.acquire(ANY_POD);
      return draft;
    }
    return this.#groups.acquire(draft.key, (number) => {
      this.#states.set(number, { draft, identities: new Set() });
      this.#eachTerm(draft, (terms, term) => terms.acquire(term));
      return draft;
    });
  }

  release(group: Entry<PodGroupDraft> | "all"): void {
    if (group === "all") this.#podTerms.release(ANY_POD);
    else group.uses--;
  }

  /** `before`: groups and peers, in the order in which they are needed. `after`: what profiles no longer use. */
  changes(): { readonly before: PolicyChange[]; readonly after: PolicyChange[] } {
    const gone = this.#groups.sweep();
    for (const { number, value } of gone) {
      this.#states.delete(number);
      this.#eachTerm(value, (terms, term) => terms.release(term));
    }
    this.#matchAll();
    const peers = [...this.#dirty].flatMap((key) => this.#identify(key));
    this.#dirty.clear();
    const grown = new Set<number>();
    const added = new Set(this.#groups.takeAdded().map(({ number }) => number));
    const identities = [...this.#identities.entries()];
    const fresh = new Set(this.#identities.takeAdded());
    for (const [number, { draft, identities: members }] of this.#states) {
      for (const entry of added.has(number) ? identities : fresh) {
        if (!meetsAny(draft, entry.value)) continue;
        members.add(entry.number);
        grown.add(number);
      }
      if (added.has(number)) grown.add(number);
    }
    const before = [...grown].map((number) => this.#groupChange(number));
    const shrunk = new Set<number>();
    for (const { number: identity } of this.#identities.sweep()) {
      for (const [number, { identities: members }] of this.#states) if (members.delete(identity)) shrunk.add(number);
    }
    return {
      before: [...before, ...peers],
      after: [
        ...[...shrunk].map((number) => this.#groupChange(number)),
        ...gone.map(({ number }): PolicyChange => ({ kind: "pods", number, identities: undefined })),
      ],
    };
  }

  /** New terms are matched against all pods they can concern; removed terms are forgotten. */
  #matchAll(): void {
    const { added, removed } = this.#podTerms.take();
    for (const term of added) {
      const keys =
        typeof term.namespaces === "string" ? (this.#podsByNamespace.get(term.namespaces) ?? []) : this.#pods.keys();
      for (const key of keys) {
        const { pod } = this.#pods.get(key) as PeerPod;
        if (matchesPod(term, pod, this.#labelsOf(pod))) this.#dirty.add(key);
      }
    }
    const keysGone = new Set(removed.map(({ key }) => key));
    const ports = this.#portTerms.take();
    const changedPorts = [...ports.added, ...ports.removed];
    if (keysGone.size + changedPorts.length === 0) return;
    for (const [key, { pod, terms }] of this.#pods) {
      const isConcerned =
        changedPorts.some((term) => resolvePort(term, pod) !== undefined) ||
        [...terms].some((term) => keysGone.has(term));
      if (terms.size > 0 && isConcerned) this.#dirty.add(key);
    }
  }

  #labelsOf({ namespace }: Pod): Labels {
    return this.#namespaces.get(namespace) ?? NO_LABELS;
  }

  #identify(key: string): PolicyChange[] {
    const peer = this.#pods.get(key);
    if (peer === undefined) return [];
    const { pod, identities } = peer;
    peer.terms = this.#podTerms.matching(pod.namespace, (term) => matchesPod(term, pod, this.#labelsOf(pod)));
    const had = new Map(identities);
    identities.clear();
    const changes: PolicyChange[] = [];
    const facts = this.#factsOf(peer);
    for (const address of peer.terms.size === 0 ? [] : pod.addresses) {
      const entry = this.#identities.acquire(factsKey(facts), () => facts);
      identities.set(addressKey(address), { address, entry });
      if (had.get(addressKey(address))?.entry !== entry) {
        changes.push({ kind: "peer", address, identity: this.#owners.set(address, key, entry.number) });
      }
    }
    for (const [address, old] of had) {
      old.entry.uses--;
      if (identities.has(address)) continue;
      changes.push({ kind: "peer", address: old.address, identity: this.#owners.set(old.address, key, undefined) });
    }
    if (this.#removed.delete(key)) this.#forget(key, pod.namespace);
    return changes;
  }

  #forget(key: string, namespace: string): void {
    this.#pods.delete(key);
    const keys = this.#podsByNamespace.get(namespace);
    keys?.delete(key);
    if (keys?.size === 0) this.#podsByNamespace.delete(namespace);
  }

  #factsOf({ pod, terms }: PeerPod): Facts {
    const ports = new Map<string, number>();
    for (const term of this.#portTerms.all()) {
      const number = resolvePort(term, pod);
      if (number !== undefined) ports.set(term.key, number);
    }
    return { pods: terms, ports };
  }

  #groupChange(number: number): PolicyChange {
    const { identities } = this.#states.get(number) as GroupState;
    return { kind: "pods", number, identities: new Set(identities) };
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

  #count({ protocol, name, port }: NamedPort, by: 1 | -1): void {
    const term = portNameTerm(protocol, name);
    const numbers = this.#portNumbers.get(term.key) ?? new Map<number, number>();
    const count = (numbers.get(port) ?? 0) + by;
    if (count === 0) numbers.delete(port);
    else numbers.set(port, count);
    if (count === 0 || (count === 1 && by === 1)) this.#changedNames.set(term.key, term);
    if (numbers.size === 0) this.#portNumbers.delete(term.key);
    else this.#portNumbers.set(term.key, numbers);
  }
}

/** The first of each name and protocol: only that one can be meant. */
function countedPorts(pod: Pod | undefined): NamedPort[] {
  if (pod === undefined || pod.isHostNetwork || pod.hasEnded) return [];
  return pod.namedPorts.filter((port) => resolvePort(port, pod) === port.port).filter(isFirst);
}

const isFirst = (port: NamedPort, at: number, all: readonly NamedPort[]) =>
  all.findIndex(({ name, protocol }) => name === port.name && protocol === port.protocol) === at;

function factsKey({ pods, ports }: Facts): string {
  return JSON.stringify([[...pods].sort(), [...ports].sort()]);
}

function meetsAny({ conditions }: PodGroupDraft, facts: Facts): boolean {
  return conditions.some((condition) => meets(condition, facts));
}

function meets({ term, port }: PodCondition, { pods, ports }: Facts): boolean {
  return pods.has(term.key) && (port === undefined || ports.get(port.term.key) === port.number);
}

/** Terms in use, counted. */
class Terms<T extends PodTerm | PortNameTerm> {
  readonly #terms = new Map<string, { readonly term: T; uses: number }>();
  readonly #byNamespace = new Map<string, Set<T>>();
  readonly #clusterWide = new Set<T>();
  readonly #added = new Set<T>();
  readonly #removed = new Set<T>();

  acquire(term: T): void {
    const known = this.#terms.get(term.key);
    if (known !== undefined) {
      known.uses++;
      return;
    }
    this.#terms.set(term.key, { term, uses: 1 });
    this.#added.add(term);
    this.#indexOf(term).add(term);
  }

  release({ key }: T): void {
    const known = this.#terms.get(key);
    if (known === undefined || --known.uses > 0) return;
    this.#terms.delete(key);
    this.#indexOf(known.term).delete(known.term);
    if (!this.#added.delete(known.term)) this.#removed.add(known.term);
  }

  /** Added and removed since the last call. */
  take(): { readonly added: T[]; readonly removed: T[] } {
    const taken = { added: [...this.#added], removed: [...this.#removed] };
    this.#added.clear();
    this.#removed.clear();
    return taken;
  }

  *all(): Generator<T> {
    for (const { term } of this.#terms.values()) yield term;
  }

  /** Keys of the terms that can concern pods of the namespace, and match. */
  matching(namespace: string, matches: (term: T) => boolean): ReadonlySet<string> {
    const candidates = [...(this.#byNamespace.get(namespace) ?? []), ...this.#clusterWide];
    return new Set(candidates.filter(matches).map(({ key }) => key));
  }

  #indexOf(term: T): Set<T> {
    if (term.kind !== "pods" || typeof term.namespaces !== "string") return this.#clusterWide;
    const own = this.#byNamespace.get(term.namespaces) ?? new Set();
    this.#byNamespace.set(term.namespaces, own);
    return own;
  }
}
