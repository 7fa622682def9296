/**
 * Terms: the parts of rules that match pods, addresses or named ports. Rules that name the same pods, the same block or
 * the same port name share a term.
 */
import type { Labels } from "../cluster/policy/labels.ts";
import type { BlockPeer, PodPeer } from "../cluster/policy/network-policy.ts";
import type { Pod } from "../cluster/policy/pod.ts";
import { type LabelSelector, MATCH_ALL, matchesLabels, selectorKey } from "../cluster/policy/selector.ts";
import type { Protocol } from "../cluster/service/service.ts";
import type { Address } from "../ip/address.ts";
import { addressBits } from "../ip/address.ts";
import { contains, formatPrefix } from "../ip/prefix.ts";
import { commonSpans, invertSpans, prefixSpan, type Span } from "../ip/span.ts";

/** Pods by labels. */
export interface PodTerm {
  readonly kind: "pods";
  readonly key: string;
  /** The name of one namespace, or a selector of namespaces. */
  readonly namespaces: string | LabelSelector;
  readonly pods: LabelSelector;
}

/** Peers by address. */
export interface BlockTerm {
  readonly kind: "block";
  readonly key: string;
  readonly peer: BlockPeer;
}

/** A port of destination pods, by its name. */
export interface PortNameTerm {
  readonly kind: "port name";
  readonly key: string;
  readonly protocol: Protocol;
  readonly name: string;
}

export type Term = PodTerm | BlockTerm | PortNameTerm;

/** `namespace` is that of the policy. */
export function podTerm({ namespaces, pods }: PodPeer, namespace: string): PodTerm {
  const where = namespaces ?? namespace;
  const whereKey = typeof where === "string" ? where : selectorKey(where);
  return { kind: "pods", key: `pods ${whereKey} ${selectorKey(pods)}`, namespaces: where, pods };
}

/** All pods of the cluster: for rules that name a port but no peer. */
export const ANY_POD: PodTerm = podTerm({ kind: "pods", namespaces: MATCH_ALL, pods: MATCH_ALL }, "");

export function blockTerm(peer: BlockPeer): BlockTerm {
  const except = peer.except.map(formatPrefix).sort();
  return { kind: "block", key: `block ${formatPrefix(peer.block)} ${except.join(",")}`, peer };
}

export function portNameTerm(protocol: Protocol, name: string): PortNameTerm {
  return { kind: "port name", key: `port ${protocol} ${name}`, protocol, name };
}

/** Never true for pods on the node's network, because their addresses are the node's, and for pods that have ended. */
export function matchesPod({ namespaces, pods }: PodTerm, pod: Pod, namespaceLabels: Labels): boolean {
  if (pod.isHostNetwork || pod.hasEnded) return false;
  const isThere =
    typeof namespaces === "string" ? pod.namespace === namespaces : matchesLabels(namespaces, namespaceLabels);
  return isThere && matchesLabels(pods, pod.labels);
}

export function matchesAddress({ peer: { block, except } }: BlockTerm, address: Address): boolean {
  return contains(block, address) && !except.some((one) => contains(one, address));
}

/** The addresses of the block, less its exceptions. */
export function blockSpans({ peer: { block, except } }: BlockTerm): Span[] {
  const { family } = block.address;
  const own = except.filter(({ address }) => address.family === family).map(prefixSpan);
  return commonSpans([prefixSpan(block)], invertSpans(own, addressBits(family)));
}

/** The number of the first port of this name and protocol. */
export function resolvePort({ name, protocol }: Pick<PortNameTerm, "name" | "protocol">, pod: Pod): number | undefined {
  return pod.namedPorts.find((port) => port.name === name && port.protocol === protocol)?.port;
}
