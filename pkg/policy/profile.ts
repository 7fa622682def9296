/** The isolation of a pod in one direction, as a partition of ports with conditions on peers. Pure. */
import type { NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from "../cluster/policy/network-policy.ts";
import type { Pod } from "../cluster/policy/pod.ts";
import { ALL_PORTS, includesPorts, type ProtocolPorts, partitionPorts } from "./port-classes.ts";
import type { Direction } from "./state.ts";
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

/** Pods that are allowed: by a term, and in egress by the number that a port's name has at the pod. */
export interface PodCondition {
  readonly term: PodTerm;
  readonly port: NamedNumber | undefined;
}

/** The destination pod has a port of this name, and it has this number. */
export interface NamedNumber {
  readonly term: PortNameTerm;
  readonly number: number;
}

/** Pods that meet one of the conditions. Equal keys: equal drafts. */
export interface PodGroupDraft {
  readonly key: string;
  readonly conditions: readonly PodCondition[];
}

/** Addresses of one of the blocks. */
export interface BlockGroupDraft {
  readonly key: string;
  readonly terms: readonly BlockTerm[];
}

/** Undefined: none of this kind. */
export interface PeersDraft {
  readonly key: string;
  readonly isEverything: boolean;
  readonly pods: PodGroupDraft | "all" | undefined;
  readonly blocks: BlockGroupDraft | undefined;
}

export interface ProfileDraft {
  readonly key: string;
  readonly direction: Direction;
  readonly policies: readonly string[];
  readonly ports: readonly (ProtocolPorts & { readonly peers: PeersDraft })[];
  readonly others: PeersDraft;
}

export interface NamedPolicy {
  /** "namespace/name" */
  readonly key: string;
  readonly policy: NetworkPolicy;
}

/** The numbers that pods of the cluster have for a port name. */
export type NumbersOf = (term: PortNameTerm) => Iterable<number>;

/** Which peers a rule allows for which ports. */
interface Allowance {
  /** Undefined: all ports of all protocols. */
  readonly ports: ProtocolPorts | undefined;
  readonly peers: RulePeers | "everything";
}

interface RulePeers {
  readonly pods: readonly PodCondition[];
  readonly blocks: readonly BlockTerm[];
}

/** Undefined if none of `policies`, which select `subject`, isolates it in this direction. */
export function draftProfile(
  direction: Direction,
  policies: readonly NamedPolicy[],
  subject: Pod,
  numbersOf: NumbersOf,
): ProfileDraft | undefined {
  const isolating = policies.filter(({ policy }) => policy[direction] !== undefined);
  if (isolating.length === 0) return undefined;
  const allowances = isolating.flatMap(({ policy }) =>
    (policy[direction] ?? []).flatMap((rule) => allowancesOf(rule, policy.namespace, direction, subject, numbersOf)),
  );
  const others = peersOf(allowances.filter(({ ports }) => ports === undefined));
  const classes = partitionPorts(allowances.flatMap(({ ports }) => ports ?? [])).map((range) => {
    const allowing = allowances.filter(({ ports }) => ports === undefined || includesPorts(ports, range));
    return { ...range, peers: peersOf(allowing) };
  });
  const ports = joined(classes).filter(({ peers }) => peers.key !== others.key);
  const names = isolating.map(({ key }) => key).sort();
  const shape = ports.map(({ protocol, first, last, peers }) => [protocol, first, last, peers.key]);
  return { key: JSON.stringify([direction, names, others.key, shape]), direction, policies: names, ports, others };
}

function allowancesOf(
  { peers, ports }: PolicyRule,
  namespace: string,
  direction: Direction,
  subject: Pod,
  numbersOf: NumbersOf,
): Allowance[] {
  const all = peers === undefined ? "everything" : rulePeers(peers, namespace);
  if (ports === undefined) return [{ ports: undefined, peers: all }];
  return ports.flatMap(({ protocol, port }: PolicyPort): Allowance[] => {
    if (typeof port !== "string") return [{ ports: { protocol, ...(port ?? ALL_PORTS) }, peers: all }];
    const term = portNameTerm(protocol, port);
    if (direction === "ingress") {
      const number = resolvePort(term, subject);
      return number === undefined ? [] : [{ ports: single(protocol, number), peers: all }];
    }
    // A name is resolved at the destination pod: addresses that belong to no pod have no port of that name.
    const pods = all === "everything" ? [{ term: ANY_POD }] : all.pods;
    return [...numbersOf(term)].map((number) => ({
      ports: single(protocol, number),
      peers: { pods: pods.map((condition) => ({ term: condition.term, port: { term, number } })), blocks: [] },
    }));
  });
}

function rulePeers(peers: readonly PolicyPeer[], namespace: string): RulePeers {
  return {
    pods: peers.flatMap((peer) => (peer.kind === "pods" ? [{ term: podTerm(peer, namespace), port: undefined }] : [])),
    blocks: peers.flatMap((peer) => (peer.kind === "block" ? [blockTerm(peer)] : [])),
  };
}

const single = (protocol: ProtocolPorts["protocol"], number: number) => ({ protocol, first: number, last: number });

const EVERYTHING: PeersDraft = { key: "everything", isEverything: true, pods: undefined, blocks: undefined };

function peersOf(allowances: readonly Allowance[]): PeersDraft {
  const pods = new Map<string, PodCondition>();
  const blocks = new Map<string, BlockTerm>();
  for (const { peers } of allowances) {
    if (peers === "everything") return EVERYTHING;
    for (const condition of peers.pods) pods.set(conditionKey(condition), condition);
    for (const term of peers.blocks) blocks.set(term.key, term);
  }
  const podGroup = podGroupOf(pods);
  const blockGroup = blocks.size === 0 ? undefined : { key: keyOfAll(blocks), terms: [...blocks.values()] };
  const key = `${podGroup === "all" ? podGroup : podGroup?.key} ${blockGroup?.key}`;
  return { key, isEverything: false, pods: podGroup, blocks: blockGroup };
}

function podGroupOf(conditions: ReadonlyMap<string, PodCondition>): PeersDraft["pods"] {
  if (conditions.size === 0) return undefined;
  if (conditions.has(ANY_POD.key)) return "all";
  return { key: keyOfAll(conditions), conditions: [...conditions.values()] };
}

const keyOfAll = (all: ReadonlyMap<string, unknown>) => JSON.stringify([...all.keys()].sort());

function conditionKey({ term, port }: PodCondition): string {
  return port === undefined ? term.key : `${term.key} with ${port.term.key}=${port.number}`;
}

/** Neighbours of one protocol with the same peers become one class. */
function joined<T extends ProtocolPorts & { readonly peers: PeersDraft }>(classes: readonly T[]): T[] {
  const result: T[] = [];
  for (const each of classes) {
    const previous = result.at(-1);
    const isSame = previous?.protocol === each.protocol && previous.peers.key === each.peers.key;
    if (isSame) result[result.length - 1] = { ...previous, last: each.last };
    else result.push(each);
  }
  return result;
}
