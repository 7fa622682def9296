/** Groups of peers by labels: the identities that meet one of the conditions of the group. */
import type { PodGroupDraft } from "./decision-draft.ts";
import type { PodCondition } from "./entries.ts";
import { Registry, type RegistryEntry } from "./registry.ts";
import type { Identity, PolicyChange } from "./state.ts";

/** The properties of a pod's address on which conditions depend. Equal for all addresses with the same identity. */
export interface PeerFacts {
  /** Keys of the terms that select the pod by labels, or the address. */
  readonly pods: ReadonlySet<string>;
  /** Numbers of its named ports, by the keys of port name terms. */
  readonly ports: ReadonlyMap<string, number>;
}

interface GroupState {
  readonly draft: PodGroupDraft;
  readonly identities: Set<Identity>;
}

export class PodGroups {
  readonly #groups = new Registry<PodGroupDraft>();
  readonly #states = new Map<number, GroupState>();
  /** Numbers of groups with a condition on the term, by the key of the term. */
  readonly #byTerm = new Map<string, Set<number>>();
  readonly #changed = new Set<number>();

  acquire(draft: PodGroupDraft): RegistryEntry<PodGroupDraft> {
    return this.#groups.acquire(draft.key, (number) => {
      this.#states.set(number, { draft, identities: new Set() });
      for (const { term } of draft.conditions) addTo(this.#byTerm, term.key, number);
      return draft;
    });
  }

  release(group: RegistryEntry<PodGroupDraft>): void {
    this.#groups.release(group);
  }

  /** Returns the groups that were added since the last call. */
  takeAdded(): readonly RegistryEntry<PodGroupDraft>[] {
    const added = this.#groups.takeAdded();
    for (const { number } of added) this.#changed.add(number);
    return added;
  }

  /** Removes and returns the groups without users. */
  sweep(): readonly RegistryEntry<PodGroupDraft>[] {
    const gone = this.#groups.sweep();
    for (const { number, value } of gone) {
      this.#states.delete(number);
      this.#changed.delete(number);
      for (const { term } of value.conditions) removeFrom(this.#byTerm, term.key, number);
    }
    return gone;
  }

  /** Adds an identity to the groups whose conditions it meets. */
  addIdentity(identity: Identity, facts: PeerFacts): void {
    for (const number of this.#groupsFor(facts)) this.#add(number, identity, facts);
  }

  /** Adds an identity to one group, if it meets its conditions. */
  addIdentityTo(group: RegistryEntry<PodGroupDraft>, identity: Identity, facts: PeerFacts): void {
    this.#add(group.number, identity, facts);
  }

  removeIdentity(identity: Identity, facts: PeerFacts): void {
    for (const number of this.#groupsFor(facts)) {
      if (this.#states.get(number)?.identities.delete(identity)) this.#changed.add(number);
    }
  }

  /** Returns the groups whose identities changed since the last call. */
  takeChanges(): PolicyChange[] {
    const changes = [...this.#changed].map((number): PolicyChange => {
      const { identities } = this.#states.get(number) as GroupState;
      return { kind: "pods", number, identities: new Set(identities) };
    });
    this.#changed.clear();
    return changes;
  }

  #groupsFor({ pods }: PeerFacts): Set<number> {
    return new Set([...pods].flatMap((term) => [...(this.#byTerm.get(term) ?? [])]));
  }

  #add(number: number, identity: Identity, facts: PeerFacts): void {
    const state = this.#states.get(number);
    if (state === undefined || !meetsAny(state.draft, facts)) return;
    state.identities.add(identity);
    this.#changed.add(number);
  }
}

function meetsAny({ conditions }: PodGroupDraft, facts: PeerFacts): boolean {
  return conditions.some((condition) => meets(condition, facts));
}

function meets({ term, port }: PodCondition, { pods, ports }: PeerFacts): boolean {
  return pods.has(term.key) && (port === undefined || ports.get(port.term.key) === port.number);
}

export function addTo<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const set = map.get(key);
  if (set === undefined) map.set(key, new Set([value]));
  else set.add(value);
}

export function removeFrom<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const set = map.get(key);
  set?.delete(value);
  if (set?.size === 0) map.delete(key);
}
