/**
 * A node's network data, parsed from a Kubernetes Node object (core/v1). Pure. Never throws; `annotations.ts` says why.
 */
import {
  type Address,
  AddressError,
  type Family,
  formatAddress,
  isSameAddress,
  parseAddress,
} from "../../ip/address.ts";
import { formatPrefix, isSamePrefix, networkOf, type Prefix, parsePrefix } from "../../ip/prefix.ts";
import { ANNOTATION, type AnnotationContent, type Annotations, parseAnnotations } from "./annotations.ts";

/** A Node in a watch on metadata (PartialObjectMetadata). */
export interface PartialNode {
  readonly metadata: {
    readonly name: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly annotations?: Annotations;
    readonly labels?: { readonly [key: string]: string };
    readonly deletionTimestamp?: string;
  };
}

/** The label that names a Node's zone (k8s.io/api/core/v1, LabelTopologyZone). */
export const ZONE_LABEL = "topology.kubernetes.io/zone";

/** The parts of a Node object that weft reads. Everything but the name may be missing. */
export interface KubeNode extends PartialNode {
  readonly spec?: {
    readonly podCIDR?: string;
    readonly podCIDRs?: readonly string[];
    readonly taints?: readonly { readonly key: string }[];
  };
  readonly status?: {
    readonly addresses?: readonly { readonly type: string; readonly address: string }[];
    readonly conditions?: readonly NodeCondition[];
  };
}

/** One of status.conditions. Times are in RFC 3339 format. */
export interface NodeCondition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason?: string;
  readonly message?: string;
  readonly lastHeartbeatTime?: string | null;
  readonly lastTransitionTime?: string | null;
}

/** The condition that keeps the scheduler from placing pods on a Node whose network is not set up. */
export const NETWORK_UNAVAILABLE = "NetworkUnavailable";

/** The taint of a Node that the cluster autoscaler is about to remove. */
const SCALED_DOWN = "ToBeDeletedByClusterAutoscaler";

export interface ClusterNode extends AnnotationContent {
  readonly name: string;
  /** Changes if a Node was deleted and another one of the same name was created. */
  readonly uid: string;
  /**
   * The node's pod subnets, only from spec.podCIDRs. If a subnet could come from an annotation, everyone who may
   * annotate a Node could attract other nodes' traffic. Empty until the controller manager has assigned them.
   */
  readonly podCidrs: readonly Prefix[];
  /** status.addresses of type InternalIP, in their order. */
  readonly internalAddresses: readonly Address[];
  /** The zone from the Node's label, which hints of EndpointSlices refer to. */
  readonly zone?: string;
  /** The Node's condition NetworkUnavailable. */
  readonly networkUnavailable?: NodeCondition;
  /** True if its deletion has begun, or if the cluster autoscaler has selected it for removal. [false] */
  readonly isLeaving?: boolean;
  /** True if it announces an address that is not its own. `publicIp` or `publicIpv6` is then undefined. */
  readonly hasRefusedClaim: boolean;
  /** Errors in fields, each naming the field. Empty for a valid Node. */
  readonly problems: readonly string[];
}

/** Parses a Node object. Leaves out invalid fields and unjustified claims, and adds them to `problems`. */
export function parseNode(node: KubeNode): ClusterNode {
  const problems: string[] = [];
  const addressesOf = (type: string) => addressTexts(node, type).flatMap((text) => readNodeAddress(text, problems));
  const internalAddresses = addressesOf("InternalIP");
  const addresses = [...internalAddresses, ...addressesOf("ExternalIP")];
  const networkUnavailable = conditionOf(node);
  const zone = node.metadata.labels?.[ZONE_LABEL];
  const { publicIp, publicIpv6, ...content } = parseAnnotations(node.metadata.annotations ?? {}, problems);
  const accepted4 = acceptClaim(4, publicIp, content.publicIpOverwrite, addresses, problems);
  const accepted6 = acceptClaim(6, publicIpv6, content.publicIpv6Overwrite, addresses, problems);
  return {
    name: node.metadata.name,
    uid: node.metadata.uid ?? "",
    podCidrs: podCidrTexts(node).flatMap((text) => readPodCidr(text, problems)),
    internalAddresses,
    ...(zone && { zone }),
    ...(networkUnavailable && { networkUnavailable }),
    ...(isLeaving(node) && { isLeaving: true }),
    ...content,
    ...(accepted4 && { publicIp: accepted4 }),
    ...(accepted6 && { publicIpv6: accepted6 }),
    hasRefusedClaim: accepted4 !== publicIp || accepted6 !== publicIpv6,
    problems,
  };
}

/**
 * Returns the announced address, unless the Node's status contradicts it: an annotation alone must not redirect traffic
 * to another machine. The administrator's overwrite annotation is accepted. So is an address of a family for which the
 * status has no address, because nothing contradicts it.
 */
function acceptClaim(
  family: Family,
  claimed: Address | undefined,
  overwrite: Address | undefined,
  addresses: readonly Address[],
  problems: string[],
): Address | undefined {
  const own = addresses.filter((address) => address.family === family);
  const isAccepted = (address: Address) =>
    own.length === 0 || [...own, ...(overwrite ? [overwrite] : [])].some((one) => isSameAddress(one, address));
  if (claimed === undefined || isAccepted(claimed)) return claimed;
  const [key, overwriteKey] =
    family === 4
      ? [ANNOTATION.publicIp, ANNOTATION.publicIpOverwrite]
      : [ANNOTATION.publicIpv6, ANNOTATION.publicIpv6Overwrite];
  problems.push(
    `annotation ${key}: ${formatAddress(claimed)} is not one of the Node's addresses ` +
      `(${own.map(formatAddress).join(", ")}) and is ignored; if it is correct, let the kubelet report it (--node-ip), or set the annotation ${overwriteKey}`,
  );
  return undefined;
}

/**
 * Copies only the parts that are read here. A Node object may be a hundred times larger (images, conditions, managed
 * fields).
 */
export function essentialNode(node: KubeNode): KubeNode {
  const { podCIDR, podCIDRs, taints = [] } = node.spec ?? {};
  const scaledDown = taints.filter(({ key }) => key === SCALED_DOWN).map(({ key }) => ({ key }));
  const { addresses } = node.status ?? {};
  const condition = conditionOf(node);
  return {
    ...essentialMetadata(node),
    spec: {
      ...(podCIDR !== undefined && { podCIDR }),
      ...(podCIDRs !== undefined && { podCIDRs }),
      ...(scaledDown.length > 0 && { taints: scaledDown }),
    },
    status: { ...(addresses !== undefined && { addresses }), ...(condition && { conditions: [condition] }) },
  };
}

/** The same for a Node's metadata. */
export function essentialMetadata({ metadata }: PartialNode): PartialNode {
  const { name, uid, resourceVersion, annotations = {}, labels = {}, deletionTimestamp } = metadata;
  const zone = labels[ZONE_LABEL];
  const relevant = Object.values(ANNOTATION).flatMap((key) => {
    const value = annotations[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  return {
    metadata: {
      name,
      ...(uid !== undefined && { uid }),
      ...(resourceVersion !== undefined && { resourceVersion }),
      annotations: Object.fromEntries(relevant),
      ...(zone !== undefined && { labels: { [ZONE_LABEL]: zone } }),
      ...(deletionTimestamp !== undefined && { deletionTimestamp }),
    },
  };
}

/**
 * Returns a text that is equal for two states of a Node exactly if `parseNode` returns the same for both. Node objects
 * change every few minutes for reasons that do not concern the network (conditions, image lists).
 */
export function nodeFingerprint(node: KubeNode): string {
  const annotations = node.metadata.annotations ?? {};
  const relevant = Object.values(ANNOTATION).map((key) => annotations[key] ?? null);
  const addresses = ["InternalIP", "ExternalIP"].map((type) => addressTexts(node, type));
  const { status, reason } = conditionOf(node) ?? {};
  const zone = node.metadata.labels?.[ZONE_LABEL] ?? null;
  const condition = [status, reason];
  return JSON.stringify([
    ...[node.metadata.uid, podCidrTexts(node), addresses, zone, condition],
    ...[isLeaving(node), relevant],
  ]);
}

function isLeaving({ metadata, spec }: KubeNode): boolean {
  return metadata.deletionTimestamp !== undefined || (spec?.taints ?? []).some(({ key }) => key === SCALED_DOWN);
}

function conditionOf({ status }: KubeNode): NodeCondition | undefined {
  return status?.conditions?.find(({ type }) => type === NETWORK_UNAVAILABLE);
}

/** podCIDR is the older, single field. A server sets both. */
function podCidrTexts({ spec }: KubeNode): readonly string[] {
  if (spec?.podCIDRs !== undefined && spec.podCIDRs.length > 0) return spec.podCIDRs;
  return spec?.podCIDR ? [spec.podCIDR] : [];
}

function addressTexts({ status }: KubeNode, wanted: string): readonly string[] {
  return (status?.addresses ?? []).filter(({ type }) => type === wanted).map(({ address }) => address);
}

function readPodCidr(text: string, problems: string[]): Prefix[] {
  try {
    const prefix = parsePrefix(text);
    const network = networkOf(prefix);
    if (!isSamePrefix(prefix, network)) {
      problems.push(`spec.podCIDRs: ${text} has host bits set: using ${formatPrefix(network)}`);
    }
    return [network];
  } catch (error) {
    return noted("spec.podCIDRs", error, problems);
  }
}

function readNodeAddress(text: string, problems: string[]): Address[] {
  try {
    return [parseAddress(text)];
  } catch (error) {
    return noted("status.addresses", error, problems);
  }
}

function noted(field: string, error: unknown, problems: string[]): [] {
  if (!(error instanceof AddressError)) throw error;
  problems.push(`${field}: ${error.message}: ignored`);
  return [];
}
