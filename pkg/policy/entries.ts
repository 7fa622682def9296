/** Rules of policies, as entries: one for each port range, with the conditions on peers resolved. Pure. */
import type { PolicyPeer, PolicyPort, PolicyRule } from "../cluster/policy/network-policy.ts";
import type { Pod } from "../cluster/policy/pod.ts";
import { ALL_PORTS, type ProtocolPorts } from "./port-classes.ts";
import type { Direction, Verdict } from "./state.ts";
import {
  ANY_POD,
  type BlockTerm,
  blockTerm,
  type PodTerm,
  type PortNameTerm,
  podTerm,
  portNameTerm,
  resolvePort,
} from "./term.ts";

export interface RuleEntry {
  /** The name of the policy, as in `Step.policies`. */
  readonly policy: string;
  readonly verdict: Verdict;
  /** Undefined: all ports of all protocols. */
  readonly ports: ProtocolPorts | undefined;
  readonly peers: EntryPeers | "everything";
}

/** Peers that meet one of the conditions. */
export interface EntryPeers {
  readonly pods: readonly PodCondition[];
  readonly blocks: readonly BlockTerm[];
}

/** Pods that a term selects by labels or by address and, in egress, whose port of a name has a number. */
export interface PodCondition {
  readonly term: PodTerm | BlockTerm;
  readonly port: NamedNumber | undefined;
}

export interface NamedNumber {
  readonly term: PortNameTerm;
  readonly number: number;
}

/** The facts besides the policies on which a pod's entries depend. */
export interface EntryContext {
  readonly direction: Direction;
  readonly subject: Pod;
  /** Returns the numbers that pods of the cluster have for a port name. */
  numbersOf(term: PortNameTerm): Iterable<number>;
}

/** `namespace` is that of the policy. */
export function entriesOf(
  { peers, ports }: PolicyRule,
  { policy, verdict, namespace }: { readonly policy: string; readonly verdict: Verdict; readonly namespace: string },
  { direction, subject, numbersOf }: EntryContext,
): RuleEntry[] {
  const all = peers === undefined ? "everything" : entryPeers(peers, namespace);
  const own = { policy, verdict };
  if (ports === undefined) return [{ ...own, ports: undefined, peers: all }];
  return ports.flatMap(({ protocol, port }: PolicyPort): RuleEntry[] => {
    if (typeof port !== "string") return [{ ...own, ports: { protocol, ...(port ?? ALL_PORTS) }, peers: all }];
    const term = portNameTerm(protocol, port);
    if (direction === "ingress") {
      const number = resolvePort(term, subject);
      return number === undefined ? [] : [{ ...own, ports: single(protocol, number), peers: all }];
    }
    // A name is resolved at the destination pod. Addresses that belong to no pod have no port of that name.
    const pods =
      all === "everything" ? [{ term: ANY_POD }] : [...all.pods, ...all.blocks.map((block) => ({ term: block }))];
    return [...numbersOf(term)].map((number) => ({
      ...own,
      ports: single(protocol, number),
      peers: { pods: pods.map((condition) => ({ term: condition.term, port: { term, number } })), blocks: [] },
    }));
  });
}

function entryPeers(peers: readonly PolicyPeer[], namespace: string): EntryPeers {
  return {
    pods: peers.flatMap((peer) => (peer.kind === "pods" ? [{ term: podTerm(peer, namespace), port: undefined }] : [])),
    blocks: peers.flatMap((peer) => (peer.kind === "block" ? [blockTerm(peer)] : [])),
  };
}

const single = (protocol: ProtocolPorts["protocol"], number: number) => ({ protocol, first: number, last: number });

/** Returns a key that is equal for equal conditions. */
export function conditionKey({ term, port }: PodCondition): string {
  return port === undefined ? term.key : `${term.key} with ${port.term.key}=${port.number}`;
}
