/**
 * The tables that the compiler produces for the kernel of one node. The kernel looks values up and evaluates no
 * policies:
 *
 *     address of a pod of this node, direction  ->  profile
 *     profile, protocol, destination port       ->  decision: one or two tiers of steps
 *     address of the peer                       ->  identity (for pods that some rule selects), or none
 *     pod group, identity  ->  match            block group, address  ->  match
 *
 * Numbers of identities, groups and profiles are hashes of their contents, so a restarted weftd computes the same
 * numbers and finds its tables unchanged.
 */
import type { PortRange } from "../cluster/policy/network-policy.ts";
import type { Protocol } from "../cluster/service/service.ts";
import type { Address } from "../ip/address.ts";
import type { Span } from "../ip/span.ts";

export type Direction = "ingress" | "egress";

/** A class of pods that no rule in use on this node distinguishes. From 1 to 2^31 - 1. */
export type Identity = number;

/** Address ranges in ascending order, without overlaps. */
export type BlockGroup = Readonly<Record<4 | 6, readonly Span[]>>;

/** The peers of a step: a peer that one of the two groups contains. */
export interface Peers {
  /** The number of a pod group; `all`: all pods that have an identity; undefined: no pods by their labels. */
  readonly pods: number | "all" | undefined;
  /** The number of a block group; undefined: no peers by their address. */
  readonly blocks: number | undefined;
}

export type Verdict = "allow" | "deny" | "pass";

/** The first step that matches the peer decides. */
export interface Step {
  readonly peers: Peers | "everything";
  /** `pass`: the next tier decides. */
  readonly verdict: Verdict;
  /** The policies whose rules the step combines, sorted: "namespace/name", or "name" of a ClusterNetworkPolicy. */
  readonly policies: readonly string[];
}

/** The steps of one tier. Without ClusterNetworkPolicies the only tier is that of NetworkPolicies. */
export interface Tier {
  readonly name: TierName;
  readonly steps: readonly Step[];
  /** The verdict if no step matches. `deny` for the tier NetworkPolicy, `pass` for Admin, `allow` for Baseline. */
  readonly otherwise: Verdict;
}

/** Admin and Baseline are tiers of ClusterNetworkPolicies. */
export type TierName = "Admin" | "NetworkPolicy" | "Baseline";

/**
 * One or two tiers, in order. The last tier never passes. NetworkPolicy and Baseline exclude each other: the decision
 * of NetworkPolicies is final for pods that they isolate.
 */
export type Decision = readonly Tier[];

/** The decisions for one or several pods in one direction. */
export interface Profile {
  readonly direction: Direction;
  /** True if denied packets pass, but are counted and logged (`weft/policy-mode: audit` of the pod's Namespace). */
  readonly isAudited: boolean;
  /** The policies that concern the pods in this direction, sorted; names as in `Step.policies`. */
  readonly policies: readonly string[];
  /** In ascending order, without overlaps. */
  readonly ports: readonly PortClass[];
  /** For all other ports and protocols, including ICMP. */
  readonly others: Decision;
}

export interface PortClass extends PortRange {
  readonly protocol: Protocol;
  readonly decision: Decision;
}

/** The profiles of an address. A direction without a profile is not isolated. */
export interface Subject {
  readonly ingress: number | undefined;
  readonly egress: number | undefined;
}

/**
 * One changed table entry; `undefined` removes it. A profile and a block group never change after they were added. A
 * pod group does: its identities are replaced.
 */
export type PolicyChange =
  | { readonly kind: "peer"; readonly address: Address; readonly identity: Identity | undefined }
  | { readonly kind: "pods"; readonly number: number; readonly identities: ReadonlySet<Identity> | undefined }
  | { readonly kind: "blocks"; readonly number: number; readonly group: BlockGroup | undefined }
  | { readonly kind: "profile"; readonly number: number; readonly profile: Profile | undefined }
  | { readonly kind: "subject"; readonly address: Address; readonly subject: Subject | undefined };
