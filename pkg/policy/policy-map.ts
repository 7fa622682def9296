/**
 * Compiles policies, Namespaces and Pods to changes of the tables of one node. Only policies that select a pod of the
 * node cost anything here. A change of one pod's labels costs a match against the terms that can concern its namespace,
 * and one entry for each of its addresses.
 */
import type { ClusterNetworkPolicy } from "../cluster/policy/cluster-network-policy.ts";
import { type Labels, NO_LABELS } from "../cluster/policy/labels.ts";
import type { Namespace } from "../cluster/policy/namespace.ts";
import type { NetworkPolicy } from "../cluster/policy/network-policy.ts";
import type { Pod } from "../cluster/policy/pod.ts";
import { type Address, addressKey } from "../ip/address.ts";
import { isPod } from "./attachments.ts";
import { BlockGroups } from "./block-groups.ts";
import { judge } from "./judge.ts";
import type { Judgement, Question } from "./judgement.ts";
import { PeerClasses, type Refinement } from "./peer-classes.ts";
import { PodIndex } from "./pod-index.ts";
import { Policies, selects, selectsInCluster } from "./policies.ts";
import { type ListedPolicy, listPolicies } from "./policy-list.ts";
import { PortNumbers } from "./port-numbers.ts";
import { Profiles } from "./profiles.ts";
import type { Direction, Identity, PolicyChange, Subject } from "./state.ts";
import { DIRECTIONS, Subjects } from "./subjects.ts";
import type { PortNameTerm } from "./term.ts";

export interface PolicyCounts {
  readonly policies: number;
  readonly clusterPolicies: number;
  readonly namespaces: number;
  /** Pods of the cluster. */
  readonly pods: number;
  /** Pods of this node, without those of the node's network. */
  readonly localPods: number;
  /** Pods of this node with a profile. */
  readonly isolatedPods: number;
  readonly identities: number;
  readonly profiles: number;
}

export class PolicyMap {
  readonly #index = new PodIndex();
  readonly #policies = new Policies();
  readonly #numbers = new PortNumbers();
  readonly #peers = new PeerClasses(this.#index);
  readonly #blocks = new BlockGroups();
  readonly #profiles = new Profiles(this.#peers, this.#blocks);
  readonly #subjects: Subjects;
  /** The entries that earlier changes have set, by `addressKey`. */
  readonly #identities = new Map<string, Identity>();
  readonly #entries = new Map<string, Subject>();

  constructor(nodeName: string) {
    this.#subjects = new Subjects(nodeName, {
      ...{ index: this.#index, policies: this.#policies },
      ...{ numbers: this.#numbers, profiles: this.#profiles },
    });
  }

  /** `key` is "namespace/name"; undefined removes the policy. */
  setPolicy(key: string, policy: NetworkPolicy | undefined): void {
    const before = this.#policies.get(key);
    this.#policies.set(key, policy);
    this.#subjects.markIf((pod) => [before, policy].some((each) => each !== undefined && selects(each, pod)));
  }

  /** Undefined removes the policy. */
  setClusterPolicy(name: string, policy: ClusterNetworkPolicy | undefined): void {
    const before = this.#policies.getOfCluster(name);
    this.#policies.setOfCluster(name, policy);
    this.#subjects.markIf((pod) =>
      [before, policy].some((each) => each !== undefined && selectsInCluster(each, pod, this.#labelsOf(pod))),
    );
  }

  setNamespace(name: string, namespace: Namespace | undefined): void {
    const [labels, isAudited] = [this.#index.labelsOf(name), this.#index.isAudited(name)];
    this.#index.setNamespace(name, namespace);
    const isRelabelled = !isSameLabels(labels, namespace?.labels ?? NO_LABELS);
    if (isRelabelled) this.#peers.markNamespace(name);
    if (isRelabelled || isAudited !== (namespace?.isAudited ?? false)) this.#subjects.markNamespace(name);
  }

  /** `key` is "namespace/name"; undefined removes the pod. */
  setPod(key: string, pod: Pod | undefined): void {
    const before = this.#index.setPod(key, pod);
    this.#numbers.replace(before?.pod, pod);
    this.#peers.markPod(key);
    this.#subjects.markPod(key);
  }

  /**
   * Adds addresses that ADD reports for a pod of this node. They are the pod's, as subject and as peer, until a status
   * with new addresses arrives, the pod ends, or the pod is removed. If they belong to an older pod, the pod takes them
   * over. The addresses of a pod that is unknown under this UID count from the time when it becomes known.
   */
  attach(key: string, uid: string, addresses: readonly Address[]): void {
    this.#index.attach(key, uid, addresses);
    this.#peers.markPod(key);
  }

  /** Removes the addresses that `attach` added. */
  detach(key: string): void {
    this.#index.detach(key);
    this.#peers.markPod(key);
  }

  /** True if the pod is known. `uid`: its UID, or the annotation `kubernetes.io/config.hash` of a mirror pod. */
  hasPod(key: string, uid: string): boolean {
    const known = this.#index.get(key);
    return known !== undefined && isPod(known.pod, uid);
  }

  /** True if the cluster has a policy of any kind. */
  get hasPolicies(): boolean {
    return this.#policies.count + this.#policies.clusterCount > 0;
  }

  /** Returns the names of the policies that concern a pod of this node, as of the last call of `changes`. */
  policiesOf(key: string, direction: Direction): readonly string[] {
    return this.#subjects.policiesOf(key, direction);
  }

  /** Returns the keys of the pods of this node that a policy concerns, as of the last call of `changes`, sorted. */
  podsOf(policy: string): readonly string[] {
    return [...this.#subjects.keys()]
      .filter((key) => DIRECTIONS.some((direction) => this.policiesOf(key, direction).includes(policy)))
      .sort();
  }

  /** Returns the policies that concern a pod of this node, as of the last call of `changes`, in order of evaluation. */
  policies(): readonly ListedPolicy[] {
    return listPolicies(this.#policies, this.#index, this.#subjects);
  }

  counts(): PolicyCounts {
    return {
      policies: this.#policies.count,
      clusterPolicies: this.#policies.clusterCount,
      namespaces: this.#index.namespaceCount,
      pods: this.#index.podCount,
      localPods: this.#subjects.size,
      isolatedPods: this.#subjects.isolatedCount,
      identities: this.#peers.size,
      profiles: this.#profiles.size,
    };
  }

  /** Evaluates the policies for one connection between any pods of the cluster, without the tables. */
  judge(question: Question): Judgement {
    return judge(question, this.#index, this.#policies);
  }

  /**
   * Returns the changes since the last call. After each of them, the tables judge a connection as they would if only some
   * of the objects had changed: as before, as after, or, if several objects changed, as between. There is one exception:
   * if a Namespace's labels select both sides of a connection in a ClusterNetworkPolicy, the subject's new rules may
   * judge the peer by its old labels, until the later changes of the same call.
   *
   * First, identities distinguish pods by old and new rules alike, and profiles ports by old and new numbers of named
   * ports. Then isolated pods of this node get their new profiles, changed pods their new identities, and newly isolated
   * pods of this node their profiles. At last, everything that no profile uses any more is removed.
   */
  changes(): PolicyChange[] {
    const changes = this.#advance(this.#numbers.takeAdded());
    changes.push(...this.#peers.move(), ...this.#peerChanges(), ...this.#subjectChanges("all"));
    changes.push(...this.#advance(this.#numbers.sweep()));
    this.#index.clearTouched();
    changes.push(...this.#profiles.sweep());
    const { before, peers, after } = this.#peers.coarsen();
    changes.push(...before, ...this.#refinements(peers), ...after, ...this.#blocks.sweep());
    return changes;
  }

  /** Gives isolated pods their new profiles. `ports`: names of ports of which pods of the cluster have other numbers now. */
  #advance(ports: readonly PortNameTerm[]): PolicyChange[] {
    this.#subjects.markUsersOf(ports);
    this.#subjects.update();
    const { groups, peers } = this.#peers.refine();
    return [
      ...[...groups, ...this.#refinements(peers), ...this.#blocks.takeAdded(), ...this.#profiles.takeAdded()],
      ...this.#subjectChanges("isolated"),
    ];
  }

  #refinements(all: readonly Refinement[]): PolicyChange[] {
    return all.flatMap(({ address, from, to }): PolicyChange[] => {
      const text = addressKey(address);
      // The address may be that of another pod by now.
      const isOwn = this.#identities.get(text) === from;
      return isOwn && put(this.#identities, text, to, Object.is) ? [{ kind: "peer", address, identity: to }] : [];
    });
  }

  #peerChanges(): PolicyChange[] {
    return this.#index.touched().flatMap(({ text, address, owner }): PolicyChange[] => {
      const identity = owner && this.#peers.identityOf(owner, address);
      return put(this.#identities, text, identity, Object.is) ? [{ kind: "peer", address, identity }] : [];
    });
  }

  /** `isolated`: only directions that had a profile before. */
  #subjectChanges(which: "isolated" | "all"): PolicyChange[] {
    return this.#index.touched().flatMap(({ text, address, owner }): PolicyChange[] => {
      const after = owner && this.#subjects.subjectOf(owner);
      const subject = which === "all" ? after : ifIsolated(this.#entries.get(text), after);
      return put(this.#entries, text, subject, isSameSubject) ? [{ kind: "subject", address, subject }] : [];
    });
  }

  #labelsOf({ namespace }: Pod): Labels {
    return this.#index.labelsOf(namespace);
  }
}

/** Returns true if the map changed. */
function put<K, V>(map: Map<K, V>, key: K, value: V | undefined, isSame: (a: V, b: V) => boolean): boolean {
  const before = map.get(key);
  if (value === undefined) return map.delete(key);
  if (before !== undefined && isSame(before, value)) return false;
  map.set(key, value);
  return true;
}

function ifIsolated(before: Subject | undefined, after: Subject | undefined): Subject | undefined {
  const ingress = before?.ingress === undefined ? undefined : after?.ingress;
  const egress = before?.egress === undefined ? undefined : after?.egress;
  return ingress === undefined && egress === undefined ? undefined : { ingress, egress };
}

function isSameSubject(a: Subject, b: Subject): boolean {
  return a.ingress === b.ingress && a.egress === b.egress;
}

function isSameLabels(a: Labels, b: Labels): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}
