/**
 * A second reading of the specification of NetworkPolicy: what a connection may do, from the objects as clients write them. It
 * evaluates each policy for each question, shares nothing with the compiler (pkg/policy), and is slow.
 * Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/, networking.k8s.io/v1.
 */
import { BlockList } from "node:net";

// biome-ignore lint/suspicious/noExplicitAny: objects of the Kubernetes API, unchecked
type Json = any;

export interface World {
  readonly policies: readonly Json[];
  readonly namespaces: readonly Json[];
  readonly pods: readonly Json[];
}

export interface Question {
  readonly from: string;
  readonly to: string;
  /** "TCP", "UDP", "SCTP", or anything else for a protocol without ports. */
  readonly protocol: string;
  readonly port: number;
}

/** True if the egress rules of the source and the ingress rules of the destination allow the connection. */
export function isAllowed(world: World, question: Question): boolean {
  const source = podAt(world, question.from);
  const destination = podAt(world, question.to);
  return (
    sideAllows(world, "Egress", source, { address: question.to, pod: destination }, destination, question) &&
    sideAllows(world, "Ingress", destination, { address: question.from, pod: source }, destination, question)
  );
}

/** One side alone: for the node that has only one of the two pods. */
export function isAllowedBySide(world: World, side: "Ingress" | "Egress", question: Question): boolean {
  const source = podAt(world, question.from);
  const destination = podAt(world, question.to);
  return side === "Egress"
    ? sideAllows(world, side, source, { address: question.to, pod: destination }, destination, question)
    : sideAllows(world, side, destination, { address: question.from, pod: source }, destination, question);
}

/** The pod that has the address now. Pods on the node's network share the node's address and are no pods here. */
function podAt({ pods }: World, address: string): Json {
  return pods.find(
    ({ spec, status }) =>
      spec.hostNetwork !== true &&
      status.phase !== "Succeeded" &&
      status.phase !== "Failed" &&
      (status.podIPs ?? []).some(({ ip }: Json) => ip === address),
  );
}

interface Peer {
  readonly address: string;
  readonly pod: Json;
}

function sideAllows(
  world: World,
  type: "Ingress" | "Egress",
  subject: Json,
  peer: Peer,
  destination: Json,
  question: Question,
): boolean {
  if (subject === undefined) return true;
  const isolating = world.policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === subject.metadata.namespace &&
      selects(spec.podSelector, subject.metadata.labels) &&
      typesOf(spec).includes(type),
  );
  if (isolating.length === 0) return true;
  return isolating.some(({ metadata, spec }) => {
    const rules = (type === "Ingress" ? spec.ingress : spec.egress) ?? [];
    return rules.some((rule: Json) => {
      const peers = (type === "Ingress" ? rule.from : rule.to) ?? [];
      const isPeer = peers.length === 0 || peers.some((one: Json) => isPeerOf(world, one, metadata.namespace, peer));
      const ports = rule.ports ?? [];
      return isPeer && (ports.length === 0 || ports.some((one: Json) => isPortOf(one, destination, question)));
    });
  });
}

function typesOf({ policyTypes, egress }: Json): string[] {
  if (policyTypes?.length > 0) return policyTypes;
  return egress?.length > 0 ? ["Ingress", "Egress"] : ["Ingress"];
}

function isPeerOf({ namespaces }: World, peer: Json, policyNamespace: string, { address, pod }: Peer): boolean {
  if (peer.ipBlock) {
    const within = (cidr: string) => {
      const [network = "", length = "0"] = cidr.split("/");
      const family = network.includes(":") ? "ipv6" : "ipv4";
      if (address.includes(":") !== (family === "ipv6")) return false;
      const list = new BlockList();
      list.addSubnet(network, Number(length), family);
      return list.check(address, family);
    };
    return within(peer.ipBlock.cidr) && !(peer.ipBlock.except ?? []).some(within);
  }
  if (pod === undefined) return false;
  const namespace = pod.metadata.namespace;
  if (peer.namespaceSelector) {
    const labels = namespaces.find(({ metadata }) => metadata.name === namespace)?.metadata.labels;
    if (!selects(peer.namespaceSelector, labels)) return false;
  } else if (namespace !== policyNamespace) return false;
  return !peer.podSelector || selects(peer.podSelector, pod.metadata.labels);
}

function isPortOf({ protocol = "TCP", port, endPort }: Json, destination: Json, question: Question): boolean {
  if (protocol !== question.protocol) return false;
  if (port === undefined) return true;
  if (typeof port === "string") {
    const named = (destination?.spec.containers ?? [])
      .flatMap(({ ports = [] }: Json) => ports)
      .find((one: Json) => one.name === port && (one.protocol ?? "TCP") === protocol);
    return named?.containerPort === question.port;
  }
  return question.port >= port && question.port <= (endPort ?? port);
}

function selects(selector: Json, labels: Json = {}): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }: Json) => {
      if (operator === "In") return key in labels && values.includes(labels[key]);
      if (operator === "NotIn") return !(key in labels) || !values.includes(labels[key]);
      return operator === "Exists" ? key in labels : !(key in labels);
    })
  );
}
