/** The parts of a NetworkPolicy (networking.k8s.io/v1) that weftd keeps, and their parser. */
import type { Prefix } from "../../ip/prefix.ts";
import type { ResourceParser } from "../parser.ts";
import { intern, type JsonObject, listOf, NO_PROBLEMS, objectOf, protocolOf } from "../service/field.ts";
import type { Protocol } from "../service/service.ts";
import { parsePrefixes } from "./block.ts";
import { readRange } from "./ports.ts";
import { type LabelSelector, readSelector } from "./selector.ts";

export interface NetworkPolicy {
  readonly namespace: string;
  /** The pods of the namespace that the policy isolates; undefined, and so none, if it cannot be read. */
  readonly subject: LabelSelector | undefined;
  /** Undefined: pods are not isolated for ingress by this policy. Empty: nothing is allowed. */
  readonly ingress: readonly PolicyRule[] | undefined;
  readonly egress: readonly PolicyRule[] | undefined;
  /** The parts of the object that could not be read, in words. They allow nothing. */
  readonly problems: readonly string[];
}

/** Allows connections that match one of the peers and one of the ports. */
export interface PolicyRule {
  /** Undefined: any peer. */
  readonly peers: readonly PolicyPeer[] | undefined;
  /** Undefined: any port of any protocol. */
  readonly ports: readonly PolicyPort[] | undefined;
}

export type PolicyPeer = PodPeer | BlockPeer;

/** Pods of namespaces: both selectors must match. */
export interface PodPeer {
  readonly kind: "pods";
  /** Undefined: the namespace of the policy. */
  readonly namespaces: LabelSelector | undefined;
  readonly pods: LabelSelector;
}

/** Addresses, whether they belong to pods, nodes or other machines. */
export interface BlockPeer {
  readonly kind: "block";
  readonly block: Prefix;
  readonly except: readonly Prefix[];
}

export interface PolicyPort {
  readonly protocol: Protocol;
  /** Undefined: every port of the protocol. A name is resolved at each destination pod. */
  readonly port: PortRange | string | undefined;
}

/** Both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export const NETWORK_POLICY_PARSER: ResourceParser<NetworkPolicy> = {
  resource: {
    group: "networking.k8s.io",
    version: "v1",
    plural: "networkpolicies",
    kind: "NetworkPolicy",
    isNamespaced: true,
  },
  parse({ metadata, spec: anySpec }) {
    const problems: string[] = [];
    const spec = objectOf(anySpec);
    const types = listOf(spec.policyTypes);
    // The API server writes policyTypes. Without them, a policy is of type Ingress, and of type Egress if it has `egress`.
    const hasIngress = types.length === 0 || types.includes("Ingress");
    const hasEgress = types.length === 0 ? listOf(spec.egress).length > 0 : types.includes("Egress");
    const subject = readSelector(spec.podSelector, "spec.podSelector", problems);
    return {
      namespace: intern(metadata.namespace ?? ""),
      subject,
      ingress: hasIngress ? readRules(spec.ingress, "from", "spec.ingress", problems) : undefined,
      egress: hasEgress ? readRules(spec.egress, "to", "spec.egress", problems) : undefined,
      problems: problems.length === 0 ? NO_PROBLEMS : problems,
    };
  },
};

function readRules(value: unknown, side: "from" | "to", field: string, problems: string[]): readonly PolicyRule[] {
  return listOf(value).map((item, index) => {
    const rule = objectOf(item);
    const where = `${field}[${index}]`;
    const [peers, ports] = [listOf(rule[side]), listOf(rule.ports)];
    return {
      peers:
        peers.length === 0
          ? undefined
          : peers.flatMap((peer, at) => readPeer(objectOf(peer), `${where}.${side}[${at}]`, problems)),
      ports:
        ports.length === 0
          ? undefined
          : ports.flatMap((port, at) => readPort(objectOf(port), `${where}.ports[${at}]`, problems)),
    };
  });
}

/** None if the peer cannot be read: it allows nothing. */
function readPeer(
  { podSelector, namespaceSelector, ipBlock }: JsonObject,
  field: string,
  problems: string[],
): PolicyPeer[] {
  if (ipBlock !== undefined && ipBlock !== null) return readBlock(objectOf(ipBlock), `${field}.ipBlock`, problems);
  const isGiven = (value: unknown) => value !== undefined && value !== null;
  if (!isGiven(podSelector) && !isGiven(namespaceSelector)) {
    problems.push(`${field}: none of podSelector, namespaceSelector and ipBlock: the peer matches nothing`);
    return [];
  }
  const pods = readSelector(podSelector, `${field}.podSelector`, problems);
  const namespaces = isGiven(namespaceSelector)
    ? readSelector(namespaceSelector, `${field}.namespaceSelector`, problems)
    : undefined;
  if (pods === undefined || (namespaces === undefined && isGiven(namespaceSelector))) return [];
  return [{ kind: "pods", namespaces, pods }];
}

/** A block with an exception that cannot be read matches nothing: without the exception it would match too much. */
function readBlock({ cidr, except }: JsonObject, field: string, problems: string[]): BlockPeer[] {
  const [block] = parsePrefixes([cidr], `${field}.cidr`, problems) ?? [];
  const exceptions = parsePrefixes(except, `${field}.except`, problems);
  return block === undefined || exceptions === undefined ? [] : [{ kind: "block", block, except: exceptions }];
}

function readPort({ protocol: name, port, endPort }: JsonObject, field: string, problems: string[]): PolicyPort[] {
  const protocol = protocolOf(name, `${field}.protocol`, problems);
  if (protocol === undefined) return [];
  const hasEnd = endPort !== undefined && endPort !== null;
  if ((port === undefined || port === null) && !hasEnd) return [{ protocol, port: undefined }];
  if (typeof port === "string" && port !== "" && !hasEnd) return [{ protocol, port: intern(port) }];
  const range = readRange(port, hasEnd ? endPort : port);
  if (range === undefined) {
    const given = JSON.stringify({ port, ...(hasEnd && { endPort }) });
    problems.push(
      `${field}: ${given} is not a port, a port's name, or a range with endPort >= port: it matches nothing`,
    );
    return [];
  }
  return [{ protocol, port: range }];
}
