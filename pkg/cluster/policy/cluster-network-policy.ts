/** The parts of a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) that weftd keeps, and their parser. */
import type { ResourceParser } from "../parser.ts";
import { intern, type JsonObject, listOf, NO_PROBLEMS, objectOf, textOf } from "../service/field.ts";
import type { Protocol } from "../service/service.ts";
import { parsePrefixes } from "./block.ts";
import type { PolicyPeer, PolicyPort, PolicyRule } from "./network-policy.ts";
import { readRange } from "./ports.ts";
import { type LabelSelector, MATCH_ALL, readSelector } from "./selector.ts";

export interface ClusterNetworkPolicy {
  readonly name: string;
  readonly tier: "Admin" | "Baseline";
  /** From 0 to 1000. Policies with lower values come first. */
  readonly priority: number;
  /** The pods that the policy concerns; undefined, and so none, if it cannot be read. */
  readonly subject: ClusterSubject | undefined;
  /** Rules in order. Empty: the policy does not affect this direction. */
  readonly ingress: readonly ClusterRule[];
  readonly egress: readonly ClusterRule[];
  /** The parts of the object that could not be read, in words. */
  readonly problems: readonly string[];
}

/** Both selectors must match. */
export interface ClusterSubject {
  readonly namespaces: LabelSelector;
  readonly pods: LabelSelector;
}

/** Decides connections that match one of the peers and one of the ports. */
export interface ClusterRule extends PolicyRule {
  /** `pass`: the next tier decides. */
  readonly verdict: "allow" | "deny" | "pass";
}

const GROUP = "policy.networking.k8s.io";
const MAX_PRIORITY = 1000;

export const CLUSTER_NETWORK_POLICY_PARSER: ResourceParser<ClusterNetworkPolicy> = {
  resource: {
    group: GROUP,
    version: "v1alpha2",
    plural: "clusternetworkpolicies",
    kind: "ClusterNetworkPolicy",
    isNamespaced: false,
  },
  parse({ metadata, spec: anySpec }) {
    const problems: string[] = [];
    const spec = objectOf(anySpec);
    const tier = spec.tier === "Admin" || spec.tier === "Baseline" ? spec.tier : undefined;
    if (tier === undefined) {
      problems.push(`spec.tier: ${JSON.stringify(spec.tier)} is not Admin or Baseline: the policy selects no pods`);
    }
    const subject = readSubject(objectOf(spec.subject), problems);
    return {
      name: intern(metadata.name),
      tier: tier ?? "Admin",
      priority: readPriority(spec.priority, problems),
      subject: tier === undefined ? undefined : subject,
      ingress: readRules(spec.ingress, "from", "spec.ingress", problems),
      egress: readRules(spec.egress, "to", "spec.egress", problems),
      problems: problems.length === 0 ? NO_PROBLEMS : problems,
    };
  },
};

function readPriority(value: unknown, problems: string[]): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MAX_PRIORITY) return value;
  problems.push(`spec.priority: ${JSON.stringify(value)} is not a number from 0 to ${MAX_PRIORITY}: it counts as 1000`);
  return MAX_PRIORITY;
}

function readSubject(subject: JsonObject, problems: string[]): ClusterSubject | undefined {
  const peer = readPodPeer(subject, "spec.subject", problems);
  if (peer === "unknown") {
    problems.push("spec.subject: neither namespaces nor pods: the policy selects no pods");
    return undefined;
  }
  return peer;
}

function readRules(value: unknown, side: "from" | "to", field: string, problems: string[]): readonly ClusterRule[] {
  return listOf(value).flatMap((rule, index) => readRule(objectOf(rule), side, `${field}[${index}]`, problems));
}

const VERDICTS = new Map<unknown, ClusterRule["verdict"]>([
  ["Accept", "allow"],
  ["Deny", "deny"],
  ["Pass", "pass"],
]);

/** A rule that decides nothing, or that denies everything. */
const DENY_ALL: ClusterRule = { verdict: "deny", peers: undefined, ports: undefined };

/**
 * Fails closed if a peer cannot be read: an Accept rule matches nothing; any other rule denies all connections, because
 * the API defines this for peers without a known field. A port that cannot be read fails closed for the peers of the
 * rule: an Accept rule does not match it; any other rule denies all ports.
 */
function readRule(rule: JsonObject, side: "from" | "to", field: string, problems: string[]): ClusterRule[] {
  const verdict = VERDICTS.get(rule.action);
  if (verdict === undefined) {
    problems.push(
      `${field}.action: ${JSON.stringify(rule.action)} is not Accept, Deny or Pass: the rule denies its peers`,
    );
  }
  const peers = readPeers(rule[side], side, `${field}.${side}`, problems);
  const ports = readPorts(rule.protocols, `${field}.protocols`, problems);
  if (peers === undefined) return verdict === "allow" ? [] : [DENY_ALL];
  if (verdict === undefined) return [{ verdict: "deny", peers, ports: undefined }];
  if (ports === undefined || ports.isComplete || verdict === "allow") {
    return [{ verdict, peers, ports: ports?.known }];
  }
  return [{ verdict: "deny", peers, ports: undefined }];
}

/** Returns undefined if one of the peers cannot be read. */
function readPeers(
  value: unknown,
  side: "from" | "to",
  field: string,
  problems: string[],
): readonly PolicyPeer[] | undefined {
  const list = listOf(value);
  const peers = list.map((peer, index) => readPeer(objectOf(peer), side, `${field}[${index}]`, problems));
  if (list.length === 0) problems.push(`${field}: no peers: ${FAILS_CLOSED}`);
  if (list.length === 0 || peers.includes(undefined)) return undefined;
  return peers.flatMap((peer) => peer ?? []);
}

const FAILS_CLOSED = "an Accept rule matches nothing, any other rule denies all connections";

function readPeer(
  peer: JsonObject,
  side: "from" | "to",
  field: string,
  problems: string[],
): readonly PolicyPeer[] | undefined {
  if (side === "to" && peer.networks !== undefined && peer.networks !== null) {
    const blocks = parsePrefixes(peer.networks, `${field}.networks`, problems);
    if (blocks === undefined) problems.push(`${field}.networks: ${FAILS_CLOSED}`);
    return blocks?.map((block) => ({ kind: "block", block, except: [] }));
  }
  const pods = readPodPeer(peer, field, problems);
  if (pods === "unknown") {
    const known = side === "to" ? "namespaces, pods and networks" : "namespaces and pods";
    const fields = Object.keys(peer).join(", ") || "no field";
    problems.push(`${field}: weft supports ${known}, not ${fields}: ${FAILS_CLOSED}`);
    return undefined;
  }
  if (pods === undefined) problems.push(`${field}: ${FAILS_CLOSED}`);
  return pods && [{ kind: "pods", ...pods }];
}

/** Returns undefined if a selector cannot be read, "unknown" if the object has no known field. */
function readPodPeer(
  { namespaces, pods: anyPods }: JsonObject,
  field: string,
  problems: string[],
): ClusterSubject | "unknown" | undefined {
  if (namespaces !== undefined && namespaces !== null) {
    const selector = readSelector(namespaces, `${field}.namespaces`, problems);
    return selector && { namespaces: selector, pods: MATCH_ALL };
  }
  if (anyPods === undefined || anyPods === null) return "unknown";
  const { namespaceSelector, podSelector } = objectOf(anyPods);
  const selector = readSelector(namespaceSelector, `${field}.pods.namespaceSelector`, problems);
  const pods = readSelector(podSelector, `${field}.pods.podSelector`, problems);
  return selector && pods && { namespaces: selector, pods };
}

interface ReadPorts {
  readonly known: readonly PolicyPort[];
  /** False if some port could not be read. */
  readonly isComplete: boolean;
}

/** Returns undefined if the rule does not restrict ports. */
function readPorts(value: unknown, field: string, problems: string[]): ReadPorts | undefined {
  const list = listOf(value);
  if (list.length === 0) return undefined;
  const ports = list.map((item, index) => readPort(objectOf(item), `${field}[${index}]`, problems));
  return { known: ports.flatMap((port) => port ?? []), isComplete: !ports.includes(undefined) };
}

const PROTOCOLS: readonly (readonly [string, Protocol])[] = [
  ["tcp", 6],
  ["udp", 17],
  ["sctp", 132],
];

function readPort(item: JsonObject, field: string, problems: string[]): readonly PolicyPort[] | undefined {
  const name = textOf(item.destinationNamedPort);
  if (name !== undefined && name !== "") return PROTOCOLS.map(([, protocol]) => ({ protocol, port: intern(name) }));
  const [text, protocol] = PROTOCOLS.find(([key]) => item[key] !== undefined && item[key] !== null) ?? [];
  if (text === undefined || protocol === undefined) {
    const fields = Object.keys(item).join(", ") || "no field";
    problems.push(
      `${field}: weft supports tcp, udp, sctp and destinationNamedPort, not ${fields}: an Accept rule does not match, ` +
        "any other rule denies its peers on all ports",
    );
    return undefined;
  }
  const { destinationPort } = objectOf(item[text]);
  if (destinationPort === undefined || destinationPort === null) return [{ protocol, port: undefined }];
  const { number, range: anyRange } = objectOf(destinationPort);
  const { start, end } = objectOf(anyRange);
  const isRange = anyRange !== undefined && anyRange !== null;
  const range = isRange ? readRange(start, end) : readRange(number, number);
  if (range === undefined) {
    problems.push(
      `${field}.${text}.destinationPort: ${JSON.stringify(destinationPort)} is not a port, or a range with end >= start: ` +
        "an Accept rule does not match, any other rule denies its peers on all ports",
    );
    return undefined;
  }
  return [{ protocol, port: range }];
}
