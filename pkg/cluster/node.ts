/**
 * A node as the network sees it, read from a Kubernetes Node object (core/v1). Pure, and never throws: see
 * `annotations.ts` for why.
 */
import { type Address, AddressError, parseAddress } from "../ip/address.ts";
import { formatPrefix, isSamePrefix, networkOf, type Prefix, parsePrefix } from "../ip/prefix.ts";
import { ANNOTATION, type AnnotationContent, type Annotations, parseAnnotations } from "./annotations.ts";

/** The parts of a Node object that are read. Everything but the name may be missing. */
export interface KubeNode {
  readonly metadata: {
    readonly name: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly annotations?: Annotations;
  };
  readonly spec?: {
    readonly podCIDR?: string;
    readonly podCIDRs?: readonly string[];
  };
  readonly status?: {
    readonly addresses?: readonly { readonly type: string; readonly address: string }[];
  };
}

export interface ClusterNode extends AnnotationContent {
  readonly name: string;
  /** Differs when a Node was deleted and another of the same name created. */
  readonly uid: string;
  /**
   * The node's pod subnets, from spec.podCIDRs and nowhere else: a subnet taken from an annotation would let whoever
   * may annotate a Node draw other nodes' traffic to it. Empty until the controller manager assigned them.
   */
  readonly podCidrs: readonly Prefix[];
  /** status.addresses of type InternalIP, in their order. */
  readonly internalAddresses: readonly Address[];
  /** What could not be read, in words, each naming the field; empty for a Node in good order. */
  readonly problems: readonly string[];
}

/** Reads a Node object. What is malformed is left out and named in `problems`. */
export function parseNode(node: KubeNode): ClusterNode {
  const problems: string[] = [];
  return {
    name: node.metadata.name,
    uid: node.metadata.uid ?? "",
    podCidrs: podCidrTexts(node).flatMap((text) => readPodCidr(text, problems)),
    internalAddresses: internalAddressTexts(node).flatMap((text) => readInternalAddress(text, problems)),
    ...parseAnnotations(node.metadata.annotations ?? {}, problems),
    problems,
  };
}

/**
 * A text that is equal for two states of a Node exactly when `parseNode` reads the same from both. Node objects change
 * every few minutes for reasons that do not concern the network (conditions, image lists).
 */
export function nodeFingerprint(node: KubeNode): string {
  const annotations = node.metadata.annotations ?? {};
  const relevant = Object.values(ANNOTATION).map((key) => annotations[key] ?? null);
  return JSON.stringify([node.metadata.uid, podCidrTexts(node), internalAddressTexts(node), relevant]);
}

/** podCIDR is the older, single field; a server fills in both. */
function podCidrTexts({ spec }: KubeNode): readonly string[] {
  if (spec?.podCIDRs !== undefined && spec.podCIDRs.length > 0) return spec.podCIDRs;
  return spec?.podCIDR ? [spec.podCIDR] : [];
}

function internalAddressTexts({ status }: KubeNode): readonly string[] {
  return (status?.addresses ?? []).filter(({ type }) => type === "InternalIP").map(({ address }) => address);
}

function readPodCidr(text: string, problems: string[]): Prefix[] {
  try {
    const prefix = parsePrefix(text);
    const network = networkOf(prefix);
    if (!isSamePrefix(prefix, network)) {
      problems.push(`spec.podCIDRs: ${text} has host bits set: taken as ${formatPrefix(network)}`);
    }
    return [network];
  } catch (error) {
    return noted("spec.podCIDRs", error, problems);
  }
}

function readInternalAddress(text: string, problems: string[]): Address[] {
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
