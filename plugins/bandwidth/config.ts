/** Limits of a pod, in the configuration of the network or from the runtime for one pod. */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { Limit } from "../../pkg/kernel/traffic-control.ts";

/** Seen from the pod. */
export interface Bandwidth {
  /** What the pod receives. */
  readonly ingress: Limit | undefined;
  /** What the pod sends. */
  readonly egress: Limit | undefined;
}

const KEYS = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"] as const;
const SUBNETS = ["unshapedSubnets", "shapedSubnets"] as const;

/** Less than this many bits are no byte. */
const LEAST_BITS = 8;
/** A burst is told to the kernel in bytes, in 32 bits. */
const MOST_BURST_BITS = 8 * (2 ** 32 - 1) - 1;

/**
 * Bits a second, and bits; 0 is no limit. As with the reference, any of the keys in the configuration itself makes the
 * capability's unread. Throws `CniError` 7, and 2 for limits of certain subnets only.
 */
export function parseBandwidth(config: ConfigObject): Bandwidth {
  const capability = config.object("runtimeConfig").object("bandwidth");
  for (const object of [config, capability]) {
    for (const key of SUBNETS) {
      if (object.list(key).length > 0) throw unsupported(object, key);
    }
  }
  const object = KEYS.some((key) => config.has(key)) ? config : capability;
  return {
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

function unsupported(object: ConfigObject, key: string): CniError {
  const limits = "limits apply to all of a pod's traffic";
  return new CniError(ErrorCode.unsupportedField, `${object.pathOf(key)} is not supported: ${limits}; remove the key`);
}
