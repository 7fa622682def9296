/**
 * A second implementation of the specifications of NetworkPolicy and ClusterNetworkPolicy, for tests: decides what a
 * connection may do from the objects as clients write them. It evaluates every policy for every question, shares nothing
 * with the compiler (pkg/policy), and is slow.
 * Sources: https://kubernetes.io/docs/concepts/services-networking/network-policies/ (networking.k8s.io/v1),
 * https://network-policy-api.sigs.k8s.io/ (policy.networking.k8s.io/v1alpha2).
 */
import { BlockList } from "node:net";

// biome-ignore lint/suspicious/noExplicitAny: objects of the Kubernetes API, unchecked
type Json = any;

export interface World {
  readonly policies: readonly Json[];
  readonly clusterPolicies?: readonly Json[];
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

export type Side = "Ingress" | "Egress";

/** The opinion of one side. */
export interface Opinion {
  readonly allowed: boolean;
  /** The tier that decides; undefined if no policy concerns the pod in this direction. */
  readonly tier?: "Admin" | "NetworkPolicy" | "Baseline";
  /** "namespace/name" or "name" of the policies that decide, sorted. */
  readonly policies: readonly string[];
  /** True if one of their rules matches. */
  readonly isByRule: boolean;
}

/** True if the egress rules of the source and the ingress rules of the destination allow the connection. */
export function isAllowed(world: World, question: Question): boolean {
  return isAllowedBySide(world, "Egress", question) && isAllowedBySide(world, "Ingress", question);
}

/** The answer of one side alone, for a node that has only one of the two pods. */
export function isAllowedBySide(world: World, side: Side, question: Question): boolean {
  return opinionOf(world, side, question)?.allowed ?? true;
}

/** Returns undefined if the side is not a pod. */
export function opinionOf(world: World, side: Side, question: Question): Opinion | undefined {
  const source = podAt(world, question.from);
  const destination = podAt(world, question.to);
  const subject = side === "Egress" ? source : destination;
  if (subject === undefined) return undefined;
  const isToItself = source !== undefined && source === destination;
  if (isToItself) return { allowed: true, policies: [], isByRule: false };
  const peer = side === "Egress" ? { address: question.to, pod: destination } : { address: question.from, pod: source };
  return judge({ world, side, subject, peer, destination, question });
}

/** True if the pod with this address is in a namespace in audit mode. */
export function isAudited(world: World, address: string): boolean {
  const pod = podAt(world, address);
  const namespace = world.namespaces.find(({ metadata }) => metadata.name === pod?.metadata.namespace);
  return pod !== undefined && namespace?.metadata.annotations?.["weft/policy-mode"] === "audit";
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

interface Case {
  readonly world: World;
  readonly side: Side;
  readonly subject: Json;
  readonly peer: { readonly address: string; readonly pod: Json };
  readonly destination: Json;
  readonly question: Question;
}

function judge(each: Case): Opinion {
  const { world, side, subject } = each;
  const byAdmin = judgeTier(each, "Admin");
  if (typeof byAdmin === "object") return byAdmin;
  const isolating = world.policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === subject.metadata.namespace &&
      selects(spec.podSelector, subject.metadata.labels) &&
      typesOf(spec).includes(side),
  );
  if (isolating.length > 0) {
    const allowing = isolating.filter((policy) => rulesOf(policy, side).some((rule) => isMatch(each, policy, rule)));
    const isByRule = allowing.length > 0;
    const policies = (isByRule ? allowing : isolating).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    return { allowed: isByRule, tier: "NetworkPolicy", policies: policies.sort(), isByRule };
  }
  const byBaseline = judgeTier(each, "Baseline");
  if (typeof byBaseline === "object") return byBaseline;
  const isConcerned = byAdmin !== "unconcerned" || byBaseline !== "unconcerned";
  return { allowed: true, ...(isConcerned && { tier: "Baseline" }), policies: [], isByRule: false };
}

/** `undecided`: rules exist, but none matches, or one passes. */
function judgeTier(each: Case, tier: "Admin" | "Baseline"): Opinion | "undecided" | "unconcerned" {
  const { world, side, subject } = each;
  const policies = (world.clusterPolicies ?? [])
    .filter(({ spec }) => spec.tier === tier && isSubject(world, spec.subject, subject))
    .filter(({ spec }) => rulesIn(spec, side).some((rule: Json) => rule.action !== "Accept" || hasKnownPeers(rule)))
    .sort((a, b) => a.spec.priority - b.spec.priority || (a.metadata.name < b.metadata.name ? -1 : 1));
  if (policies.length === 0) return "unconcerned";
  for (const { metadata, spec } of policies) {
    for (const rule of rulesIn(spec, side)) {
      const action = actionOf(each, rule);
      if (action === "Pass") return "undecided";
      if (action !== undefined) {
        return { allowed: action === "Accept", tier, policies: [metadata.name], isByRule: true };
      }
    }
  }
  return "undecided";
}

function rulesIn({ ingress, egress }: Json, side: Side): Json[] {
  return (side === "Ingress" ? ingress : egress) ?? [];
}

function isSubject(world: World, { namespaces, pods }: Json, { metadata }: Json): boolean {
  const labels = labelsOf(world, metadata.namespace);
  if (namespaces) return selects(namespaces, labels);
  return selects(pods.namespaceSelector, labels) && selects(pods.podSelector, metadata.labels);
}

/** Returns undefined if the rule does not match. */
function actionOf(each: Case, rule: Json): "Accept" | "Deny" | "Pass" | undefined {
  const { side, question, destination } = each;
  if (!hasKnownPeers(rule)) return rule.action === "Accept" ? undefined : "Deny";
  const peers: Json[] = side === "Ingress" ? rule.from : rule.to;
  if (!peers.some((peer) => isClusterPeer(each, peer))) return undefined;
  if (rule.protocols === undefined) return rule.action;
  if (rule.protocols.some((one: Json) => isProtocol(one, destination, question) === "unknown")) {
    if (rule.action !== "Accept") return "Deny";
  }
  return rule.protocols.some((one: Json) => isProtocol(one, destination, question) === true) ? rule.action : undefined;
}

/** False for a rule whose destinations include some that weft does not support. */
function hasKnownPeers({ from, to }: Json): boolean {
  return (from ?? to).every(
    (peer: Json) => peer.namespaces || peer.pods || (to !== undefined && peer.networks !== undefined),
  );
}

function isClusterPeer({ world, peer: { address, pod } }: Case, { namespaces, pods, networks }: Json): boolean {
  if (networks) return networks.some((cidr: string) => isWithin(address, cidr));
  if (pod === undefined) return false;
  const labels = labelsOf(world, pod.metadata.namespace);
  if (namespaces) return selects(namespaces, labels);
  return selects(pods.namespaceSelector, labels) && selects(pods.podSelector, pod.metadata.labels);
}

function isProtocol(one: Json, destination: Json, { protocol, port }: Question): boolean | "unknown" {
  if (one.destinationNamedPort) return numberOf(destination, one.destinationNamedPort, protocol) === port;
  const name = ["tcp", "udp", "sctp"].find((each) => one[each]);
  if (name === undefined) return "unknown";
  if (name.toUpperCase() !== protocol) return false;
  const { number, range } = one[name].destinationPort ?? {};
  if (number !== undefined) return port === number;
  return range === undefined || (port >= range.start && port <= range.end);
}

function rulesOf({ spec }: Json, side: Side): Json[] {
  return (side === "Ingress" ? spec.ingress : spec.egress) ?? [];
}

function isMatch({ world, side, peer, destination, question }: Case, { metadata }: Json, rule: Json): boolean {
  const peers = (side === "Ingress" ? rule.from : rule.to) ?? [];
  const isPeer = peers.length === 0 || peers.some((one: Json) => isPeerOf(world, one, metadata.namespace, peer));
  const ports = rule.ports ?? [];
  return isPeer && (ports.length === 0 || ports.some((one: Json) => isPortOf(one, destination, question)));
}

function typesOf({ policyTypes, egress }: Json): string[] {
  if (policyTypes?.length > 0) return policyTypes;
  return egress?.length > 0 ? ["Ingress", "Egress"] : ["Ingress"];
}

function isPeerOf(world: World, peer: Json, policyNamespace: string, { address, pod }: Case["peer"]): boolean {
  if (peer.ipBlock) {
    const { cidr, except = [] } = peer.ipBlock;
    return isWithin(address, cidr) && !except.some((one: string) => isWithin(address, one));
  }
  if (pod === undefined) return false;
  const namespace = pod.metadata.namespace;
  if (peer.namespaceSelector) {
    if (!selects(peer.namespaceSelector, labelsOf(world, namespace))) return false;
  } else if (namespace !== policyNamespace) return false;
  return !peer.podSelector || selects(peer.podSelector, pod.metadata.labels);
}

function isWithin(address: string, cidr: string): boolean {
  const [network = "", length = "0"] = cidr.split("/");
  const family = network.includes(":") ? "ipv6" : "ipv4";
  if (address.includes(":") !== (family === "ipv6")) return false;
  const list = new BlockList();
  list.addSubnet(network, Number(length), family);
  return list.check(address, family);
}

function labelsOf({ namespaces }: World, name: string): Json {
  return namespaces.find(({ metadata }) => metadata.name === name)?.metadata.labels;
}

function isPortOf({ protocol = "TCP", port, endPort }: Json, destination: Json, question: Question): boolean {
  if (protocol !== question.protocol) return false;
  if (port === undefined) return true;
  if (typeof port === "string") return numberOf(destination, port, protocol) === question.port;
  return question.port >= port && question.port <= (endPort ?? port);
}

/** The number of the destination's port of this name and protocol. */
function numberOf(destination: Json, name: string, protocol: string): number | undefined {
  return (destination?.spec.containers ?? [])
    .flatMap(({ ports = [] }: Json) => ports)
    .find((one: Json) => one.name === name && (one.protocol ?? "TCP") === protocol)?.containerPort;
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
