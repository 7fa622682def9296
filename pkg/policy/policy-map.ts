/**
 * NetworkPolicies, Namespaces and Pods in; changes of a node's tables out. Only policies that select a pod of this node have
 * any cost here. A change of one pod's labels costs a match against each term in use, and at most one entry per address.
 */

import { NO_LABELS } from "../cluster/policy/labels.ts";
import type { Namespace } from "../cluster/policy/namespace.ts";
import type { NetworkPolicy } from "../cluster/policy/network-policy.ts";
import type { Pod } from "../cluster/policy/pod.ts";
import { matchesLabels } from "../cluster/policy/selector.ts";
import { type Address, addressKey } from "../ip/address.ts";
import { AddressOwners } from "./address-owners.ts";
import { BlockGroups } from "./block-groups.ts";
import { PeerClasses } from "./peer-classes.ts";
import {
  type BlockGroupDraft,
  draftProfile,
  type NamedPolicy,
  type PeersDraft,
  type PodGroupDraft,
  type ProfileDraft,
} from "./profile.ts";
import { type Entry, Registry } from "./registry.ts";
import type { AllowedPeers, Direction, PolicyChange, Profile, Subject } from "./state.ts";
import type { PortNameTerm } from "./term.ts";

const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

/** A pod of this node, and what isolates it. */
interface LocalPod {
  readonly pod: Pod;
  readonly profiles: Readonly<Record<Direction, Entry<CompiledProfile> | undefined>>;
  readonly addresses: readonly Address[];
}

interface CompiledProfile {
  readonly draft: ProfileDraft;
  readonly ports: readonly CompiledPeers[];
  readonly others: CompiledPeers;
}

interface CompiledPeers {
  readonly isEverything: boolean;
  readonly pods: Entry<PodGroupDraft> | "all" | undefined;
  readonly blocks: Entry<BlockGroupDraft> | undefined;
}

export class PolicyMap {
  readonly #nodeName: string;
  readonly #policies = new Map<string, NamedPolicy>();
  readonly #policiesByNamespace = new Map<string, Set<string>>();
  readonly #local = new Map<string, LocalPod>();
  readonly #dirty = new Set<string>();
  readonly #owners = new AddressOwners<Subject>();
  readonly #profiles = new Registry<CompiledProfile>();
  readonly #peers = new PeerClasses();
  readonly #blocks = new BlockGroups();

  constructor(nodeName: string) {
    this.#nodeName = nodeName;
  }

  /** `key` is "namespace/name"; undefined removes the policy. */
  setPolicy(key: string, policy: NetworkPolicy | undefined): void {
    const before = this.#policies.get(key)?.policy;
    const namespace = (policy ?? before)?.namespace;
    if (namespace === undefined) return;
    if (policy === undefined) this.#policies.delete(key);
    else this.#policies.set(key, { key, policy });
    const keys = this.#policiesByNamespace.get(namespace) ?? new Set();
    this.#policiesByNamespace.set(namespace, keys);
    if (policy === undefined) keys.delete(key);
    else keys.add(key);
    if (keys.size === 0) this.#policiesByNamespace.delete(namespace);
    for (const [podKey, { pod }] of this.#local) {
      if ([before, policy].some((each) => each !== undefined && selects(each, pod))) this.#dirty.add(podKey);
    }
  }

  setNamespace(name: string, namespace: Namespace | undefined): void {
    this.#peers.setNamespace(name, namespace?.labels ?? NO_LABELS);
  }

  /** `key` is "namespace/name"; undefined removes the pod. */
  setPod(key: string, pod: Pod | undefined): void {
    this.#peers.setPod(key, pod);
    const isLocal = pod?.nodeName === this.#nodeName && !pod.isHostNetwork && !pod.hasEnded;
    if (!isLocal && !this.#local.has(key)) return;
    this.#dirty.add(key);
    const known = this.#local.get(key);
    this.#local.set(key, {
      pod: pod ?? (known as LocalPod).pod,
      profiles: known?.profiles ?? { ingress: undefined, egress: undefined },
      addresses: known?.addresses ?? [],
    });
    if (!isLocal) this.#ending.add(key);
    else this.#ending.delete(key);
  }

  /** Pods of this node that ended or were removed since the last call of `changes`. */
  readonly #ending = new Set<string>();

  /** The policies that isolate the pod in this direction, by "namespace/name". Empty: the pod is not isolated. */
  policiesOf(key: string, direction: Direction): readonly string[] {
    return this.#local.get(key)?.profiles[direction]?.value.draft.policies ?? [];
  }

  /**
   * The changes since the last call, in an order that keeps connections judged correctly after each of them: groups before
   * peers and profiles that need them, profiles before subjects, and removals last.
   */
  changes(): PolicyChange[] {
    for (const term of this.#peers.takeChangedPortNames()) this.#markUsers(term);
    const subjects = [...this.#dirty].flatMap((key) => this.#update(key));
    this.#dirty.clear();
    const added = this.#profiles.takeAdded();
    const gone = this.#profiles.sweep();
    for (const { value } of gone) for (const peers of [...value.ports, value.others]) this.#release(peers);
    const peers = this.#peers.changes();
    const blocks = this.#blocks.changes();
    return [
      ...peers.before,
      ...blocks.before,
      ...added.filter(({ uses }) => uses > 0).map(({ number, value }) => profileChange(number, value)),
      ...subjects,
      ...gone.map(({ number }): PolicyChange => ({ kind: "profile", number, profile: undefined })),
      ...peers.after,
      ...blocks.after,
    ];
  }

  /** Pods whose egress rules name a port of which some pod has another number now. */
  #markUsers(term: PortNameTerm): void {
    for (const [key, { profiles }] of this.#local) {
      const names = profiles.egress?.value.draft.policies ?? [];
      const isUsed = names.some((name) =>
        this.#policies
          .get(name)
          ?.policy.egress?.some(({ ports }) =>
            ports?.some(({ port, protocol }) => port === term.name && protocol === term.protocol),
          ),
      );
      if (isUsed) this.#dirty.add(key);
    }
  }

  #update(key: string): PolicyChange[] {
    const before = this.#local.get(key);
    if (before === undefined) return [];
    const { pod } = before;
    const hasEnded = this.#ending.delete(key);
    const addresses = hasEnded ? [] : pod.addresses;
    const policies = hasEnded ? [] : this.#policiesFor(pod);
    const [ingress, egress] = DIRECTIONS.map((direction) => {
      const draft = draftProfile(direction, policies, pod, (term) => this.#peers.numbersOf(term));
      return draft === undefined ? undefined : this.#profiles.acquire(draft.key, () => this.#compile(draft));
    });
    const after: LocalPod = { pod, profiles: { ingress, egress }, addresses };
    for (const direction of DIRECTIONS) {
      const old = before.profiles[direction];
      if (old !== undefined) old.uses--;
    }
    if (hasEnded) this.#local.delete(key);
    else this.#local.set(key, after);
    return this.#subjectChanges(key, before, after);
  }

  #policiesFor(pod: Pod): NamedPolicy[] {
    const keys = [...(this.#policiesByNamespace.get(pod.namespace) ?? [])].sort();
    return keys.flatMap((key) => {
      const named = this.#policies.get(key);
      return named !== undefined && selects(named.policy, pod) ? [named] : [];
    });
  }

  #compile(draft: ProfileDraft): CompiledProfile {
    return { draft, ports: draft.ports.map(({ peers }) => this.#acquire(peers)), others: this.#acquire(draft.others) };
  }

  #acquire({ isEverything, pods, blocks }: PeersDraft): CompiledPeers {
    return { isEverything, pods: pods && this.#peers.acquire(pods), blocks: blocks && this.#blocks.acquire(blocks) };
  }

  #release({ pods, blocks }: CompiledPeers): void {
    if (pods !== undefined) this.#peers.release(pods);
    if (blocks !== undefined) blocks.uses--;
  }

  #subjectChanges(key: string, before: LocalPod, after: LocalPod): PolicyChange[] {
    const [old, subject] = [subjectOf(before), subjectOf(after)];
    const isSame = old?.ingress === subject?.ingress && old?.egress === subject?.egress;
    const had = new Map(old === undefined ? [] : before.addresses.map((address) => [addressKey(address), address]));
    const has = new Map(subject === undefined ? [] : after.addresses.map((address) => [addressKey(address), address]));
    const changed = [...has].filter(([text]) => !isSame || !had.has(text)).map(([, address]) => address);
    const gone = [...had].filter(([text]) => !has.has(text)).map(([, address]) => address);
    const change = (address: Address, value: Subject | undefined): PolicyChange => ({
      ...{ kind: "subject", address },
      subject: this.#owners.set(address, key, value),
    });
    return [
      ...changed.map((address) => change(address, subject)),
      ...gone.map((address) => change(address, undefined)),
    ];
  }
}

function selects({ namespace, subject }: NetworkPolicy, pod: Pod): boolean {
  return namespace === pod.namespace && subject !== undefined && matchesLabels(subject, pod.labels);
}

function peersOf({ isEverything, pods, blocks }: CompiledPeers): AllowedPeers | "everything" {
  return isEverything ? "everything" : { pods: pods === "all" ? pods : pods?.number, blocks: blocks?.number };
}

function profileChange(number: number, { draft, ports, others }: CompiledProfile): PolicyChange {
  const profile: Profile = {
    direction: draft.direction,
    policies: draft.policies,
    ports: ports.map((peers, at) => {
      const { protocol, first, last } = draft.ports[at] as ProfileDraft["ports"][number];
      return { protocol, first, last, peers: peersOf(peers) };
    }),
    others: peersOf(others),
  };
  return { kind: "profile", number, profile };
}

function subjectOf({ profiles: { ingress, egress } }: LocalPod): Subject | undefined {
  if (ingress === undefined && egress === undefined) return undefined;
  return { ingress: ingress?.number, egress: egress?.number };
}
