/** Parses the limits of a pod, from the network's configuration or from the runtime. */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { networkOf, type Prefix } from "../../pkg/ip/prefix.ts";
import type { Limit } from "../../pkg/kernel/traffic-control.ts";

/** Limits from the pod's point of view. */
export interface Bandwidth {
  /** The limit for packets that the pod receives. */
  readonly ingress: Limit | undefined;
  /** The limit for packets that the pod sends. */
  readonly egress: Limit | undefined;
  /** Undefined if the limits apply to all of the pod's traffic. */
  readonly subnets: Subnets | undefined;
}

/** Remote subnets whose traffic is limited (`shapedSubnets`), or is not limited (`unshapedSubnets`). */
export interface Subnets {
  readonly isShaped: boolean;
  readonly prefixes: readonly Prefix[];
}

const KEYS = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"] as const;

/** Fewer bits are less than a byte. */
const LEAST_BITS = 8;
/** The kernel takes a burst in bytes, as a 32-bit number. */
const MOST_BURST_BITS = 8 * (2 ** 32 - 1) - 1;

/**
 * Parses rates in bits a second, and bursts in bits. 0 means no limit. If the configuration has any of the keys, the
 * capability is ignored, as the reference does. Throws `CniError` 7.
 */
export function parseBandwidth(config: ConfigObject): Bandwidth {
  const capability = config.object("runtimeConfig").object("bandwidth");
  const object = KEYS.some((key) => config.has(key)) ? config : capability;
  return {
    // The network's configuration has subnets, and the runtime has each pod's rates.
    subnets: parseSubnets(object) ?? parseSubnets(config),
    ingress: parseLimit(object, "ingressRate", "ingressBurst"),
    egress: parseLimit(object, "egressRate", "egressBurst"),
  };
}

function parseLimit(object: ConfigObject, rateKey: string, burstKey: string): Limit | undefined {
  const rate = object.optionalInteger(rateKey, { min: 0 }) ?? 0;
  const burst = object.optionalInteger(burstKey, { min: 0, max: MOST_BURST_BITS }) ?? 0;
  if (rate === 0 && burst === 0) return undefined;
  if (rate < LEAST_BITS) throw object.invalid(rateKey, `at least ${LEAST_BITS} bits a second with ${burstKey}`);
  if (burst < LEAST_BITS) throw object.invalid(burstKey, `at least ${LEAST_BITS} bits with ${rateKey}`);
  return { bytesPerSecond: Math.floor(rate / 8), burstBytes: Math.floor(burst / 8) };
}

/** Ignores host bits, as the reference does. */
function parseSubnets(object: ConfigObject): Subnets | undefined {
  const [shaped, unshaped] = (["shapedSubnets", "unshapedSubnets"] as const).map((key) => object.prefixList(key));
  if (shaped === undefined || unshaped === undefined || shaped.length + unshaped.length === 0) return undefined;
  if (shaped.length > 0 && unshaped.length > 0) throw object.invalid("unshapedSubnets", "none if shapedSubnets is set");
  const isShaped = shaped.length > 0;
  return { isShaped, prefixes: (isShaped ? shaped : unshaped).map(networkOf) };
}
