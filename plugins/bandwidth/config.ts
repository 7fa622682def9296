/** Limits of a pod, in the configuration of the network or from the runtime for one pod. */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { networkOf, type Prefix } from "../../pkg/ip/prefix.ts";
import type { Limit } from "../../pkg/kernel/traffic-control.ts";

/** Seen from the pod. */
export interface Bandwidth {
  /** What the pod receives. */
  readonly ingress: Limit | undefined;
  /** What the pod sends. */
  readonly egress: Limit | undefined;
  /** `undefined`: the limits apply to all of the pod's traffic. */
  readonly subnets: Subnets | undefined;
}

/** The far ends whose traffic is limited (`shapedSubnets`), or is not (`unshapedSubnets`). */
export interface Subnets {
  readonly isShaped: boolean;
  readonly prefixes: readonly Prefix[];
}

const KEYS = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"] as const;

/** Less than this many bits are no byte. */
const LEAST_BITS = 8;
/** A burst is told to the kernel in bytes, in 32 bits. */
const MOST_BURST_BITS = 8 * (2 ** 32 - 1) - 1;

/**
 * Bits a second, and bits; 0 is no limit. As with the reference, any of the keys in the configuration itself makes the
 * capability's unread. Throws `CniError` 7.
 */
export function parseBandwidth(config: ConfigObject): Bandwidth {
  const capability = config.object("runtimeConfig").object("bandwidth");
  const object = KEYS.some((key) => config.has(key)) ? config : capability;
  return {
    // A network states its subnets once; the runtime states each pod's rates.
    subnets: parseSubnets(object) ?? parseSubnets(config),
    ingress: parseLimit(object, "ingressRate", "ingressBurst"),
    egress: parseLimit(object, "egressRate", "egressBurst"),
  };
}

function parseLimit(object: ConfigObject, rateKey: string, burstKey: string): Limit | undefined {
  const rate = object.optionalInteger(rateKey, { min: 0 }) ?? 0;
  const burst = object.optionalInteger(burstKey, { min: 0, max: MOST_BURST_BITS }) ?? 0;
  if (rate === 0 && burst === 0) return undefined;
  if (rate < LEAST_BITS) throw object.invalid(rateKey, `at least ${LEAST_BITS} bits a second beside ${burstKey}`);
  if (burst < LEAST_BITS) throw object.invalid(burstKey, `at least ${LEAST_BITS} bits beside ${rateKey}`);
  return { bytesPerSecond: Math.floor(rate / 8), burstBytes: Math.floor(burst / 8) };
}

/** Host bits do not matter, as with the reference. */
function parseSubnets(object: ConfigObject): Subnets | undefined {
  const [shaped, unshaped] = (["shapedSubnets", "unshapedSubnets"] as const).map((key) => object.prefixList(key));
  if (shaped === undefined || unshaped === undefined || shaped.length + unshaped.length === 0) return undefined;
  if (shaped.length > 0 && unshaped.length > 0) throw object.invalid("unshapedSubnets", "none beside shapedSubnets");
  const isShaped = shaped.length > 0;
  return { isShaped, prefixes: (isShaped ? shaped : unshaped).map(networkOf) };
}
