/**
 * What the compiler tells a node's kernel: tables to look up, no rules to evaluate. Numbers name identities, groups and
 * profiles; they are never used twice while the compiler lives.
 *
 *     address of a pod of this node, direction  ->  profile
 *     profile, protocol, destination port       ->  allowed peers: everything, or a pod group and a block group
 *     address of the peer                       ->  identity (pods that some rule names), or none
 *     pod group, identity  ->  allowed          block group, address  ->  allowed
 */
import type { PortRange } from "../cluster/policy/network-policy.ts";
import type { Protocol } from "../cluster/service/service.ts";
import type { Address } from "../ip/address.ts";
import type { Span } from "../ip/span.ts";

export type Direction = "ingress" | "egress";

/** A class of pods that no rule in use here tells apart. From 1. */
export type Identity = number;

/** Addresses in order, without overlaps. */
export type BlockGroup = Readonly<Record<4 | 6, readonly Span[]>>;

/** The peers that are allowed for some ports: those of either group. */
export interface AllowedPeers {
  /** The number of a pod group; `all`: all pods that have an identity; undefined: no pods by their labels. */
  readonly pods: number | "all" | undefined;
  /** The number of a block group; undefined: no peers by their address. */
  readonly blocks: number | undefined;
}

/** The isolation of a pod in one direction. */
export interface Profile {
  readonly direction: Direction;
  /** "namespace/name" of each policy that isolates the pod in this direction, sorted. */
  readonly policies: readonly string[];
  /** In order, without overlaps. */
  readonly ports: readonly PortClass[];
  /** For all other ports and protocols, ICMP among them. */
  readonly others: AllowedPeers | "everything";
}

export interface PortClass extends PortRange {
  readonly protocol: Protocol;
  readonly peers: AllowedPeers | "everything";
}

/** The profiles of an address; a direction without one is not isolated. */
export interface Subject {
  readonly ingress: number | undefined;
  readonly egress: number | undefined;
}

/** One table entry that changed. `undefined` removes it. */
export type PolicyChange =
  | { readonly kind: "peer"; readonly address: Address; readonly identity: Identity | undefined }
  | { readonly kind: "pods"; readonly number: number; readonly identities: ReadonlySet<Identity> | undefined }
  | { readonly kind: "blocks"; readonly number: number; readonly group: BlockGroup | undefined }
  | { readonly kind: "profile"; readonly number: number; readonly profile: Profile | undefined }
  | { readonly kind: "subject"; readonly address: Address; readonly subject: Subject | undefined };
