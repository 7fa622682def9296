/** The pods of this node that policies may concern, with their profiles. */
import type { Pod } from "../cluster/policy/pod.ts";
import type { KnownPod, PodIndex } from "./pod-index.ts";
import type { Policies } from "./policies.ts";
import type { PortNumbers } from "./port-numbers.ts";
import { draftProfile } from "./profile-draft.ts";
import type { CompiledProfile, Profiles } from "./profiles.ts";
import type { RegistryEntry } from "./registry.ts";
import type { Direction, Subject } from "./state.ts";
import type { PortNameTerm } from "./term.ts";

export const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

type SubjectProfiles = Readonly<Record<Direction, RegistryEntry<CompiledProfile> | undefined>>;

const NONE: SubjectProfiles = { ingress: undefined, egress: undefined };

export class Subjects {
  readonly #nodeName: string;
  readonly #index: PodIndex;
  readonly #policies: Policies;
  readonly #numbers: PortNumbers;
  readonly #profiles: Profiles;
  readonly #local = new Map<string, SubjectProfiles>();
  readonly #dirty = new Set<string>();

  constructor(
    nodeName: string,
    {
      index,
      policies,
      numbers,
      profiles,
    }: {
      readonly index: PodIndex;
      readonly policies: Policies;
      readonly numbers: PortNumbers;
      readonly profiles: Profiles;
    },
  ) {
    this.#nodeName = nodeName;
    this.#index = index;
    this.#policies = policies;
    this.#numbers = numbers;
    this.#profiles = profiles;
  }

  get size(): number {
    return this.#local.size;
  }

  /** Keys of the pods of this node. */
  keys(): Iterable<string> {
    return this.#local.keys();
  }

  get isolatedCount(): number {
    return [...this.#local.values()].filter(({ ingress, egress }) => (ingress ?? egress) !== undefined).length;
  }

  /** Marks a pod that was set or removed. */
  markPod(key: string): void {
    const pod = this.#index.get(key)?.pod;
    const isLocal = pod !== undefined && this.#isLocal(pod);
    if (isLocal && !this.#local.has(key)) this.#local.set(key, NONE);
    if (this.#local.has(key)) this.#dirty.add(key);
  }

  /** Marks the pods of a namespace whose labels or mode changed. */
  markNamespace(name: string): void {
    for (const key of this.#local.keys()) if (this.#index.get(key)?.pod.namespace === name) this.#dirty.add(key);
  }

  /** Marks the pods for which `isConcerned` is true. */
  markIf(isConcerned: (pod: Pod) => boolean): void {
    for (const key of this.#local.keys()) {
      const pod = this.#index.get(key)?.pod;
      if (pod !== undefined && isConcerned(pod)) this.#dirty.add(key);
    }
  }

  /** Marks the pods with egress rules that name a port of which some pod has another number now. */
  markUsersOf(terms: readonly PortNameTerm[]): void {
    if (terms.length === 0) return;
    for (const [key, { egress }] of this.#local) {
      const names = egress?.value.draft.policies ?? [];
      if (names.some((name) => this.#policies.namesPort(name, terms))) this.#dirty.add(key);
    }
  }

  /** Returns the names of the policies that concern the pod in this direction, as of the last call of `update`. */
  policiesOf(key: string, direction: Direction): readonly string[] {
    return this.#local.get(key)?.[direction]?.value.draft.policies ?? [];
  }

  subjectOf({ key }: KnownPod): Subject | undefined {
    const { ingress, egress } = this.#local.get(key) ?? NONE;
    if (ingress === undefined && egress === undefined) return undefined;
    return { ingress: ingress?.number, egress: egress?.number };
  }

  /** Compiles the profiles of the marked pods, and marks the addresses of pods whose profiles changed. */
  update(): void {
    for (const key of this.#dirty) {
      const before = this.#local.get(key) ?? NONE;
      const known = this.#index.get(key);
      if (known !== undefined && this.#isLocal(known.pod)) this.#local.set(key, this.#profilesOf(known));
      else this.#local.delete(key);
      for (const direction of DIRECTIONS) {
        const old = before[direction];
        if (old !== undefined) this.#profiles.release(old);
      }
      if (known !== undefined) this.#index.touch(known.addresses);
    }
    this.#dirty.clear();
  }

  #isLocal({ nodeName, isHostNetwork, hasEnded }: Pod): boolean {
    return nodeName === this.#nodeName && !isHostNetwork && !hasEnded;
  }

  #profilesOf({ pod }: KnownPod): SubjectProfiles {
    const labels = this.#index.labelsOf(pod.namespace);
    const [ingress, egress] = DIRECTIONS.map((direction) => {
      const applicable = this.#policies.applicableTo(pod, labels, direction);
      const draft = draftProfile(applicable, this.#index.isAudited(pod.namespace), {
        ...{ direction, subject: pod },
        numbersOf: (term) => this.#numbers.of(term),
      });
      return draft && this.#profiles.acquire(draft);
    });
    return { ingress, egress };
  }
}
