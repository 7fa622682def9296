/**
 * Parses the file in which flanneld writes the node's part of the cluster's network (/run/flannel/subnet.env):
 * KEY=value lines. Pure.
 */
import { AddressError } from "../../pkg/ip/address.ts";
import { networkOf, type Prefix, parsePrefix } from "../../pkg/ip/prefix.ts";

export interface SubnetEnv {
  /** FLANNEL_NETWORK and FLANNEL_IPV6_NETWORK: the networks of all nodes' pods. */
  readonly networks: readonly Prefix[];
  /** FLANNEL_SUBNET and FLANNEL_IPV6_SUBNET: this node's subnets, at most one of each family. */
  readonly subnets: readonly Prefix[];
  /** FLANNEL_MTU in bytes. */
  readonly mtu: number;
  /** FLANNEL_IPMASQ: true if flanneld masquerades, so that no plugin needs to. */
  readonly isMasquerading: boolean;
}

/** The file exists but is incomplete or invalid. The message names the key. */
export class SubnetEnvError extends Error {}

const NETWORK_KEYS = ["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"] as const;
const SUBNET_KEYS = ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"] as const;

/** Ignores unknown keys. Throws `SubnetEnvError`. */
export function parseSubnetEnv(text: string): SubnetEnv {
  const values = parseLines(text);
  const networks = NETWORK_KEYS.flatMap((key) => prefixes(values, key));
  const subnets = SUBNET_KEYS.flatMap((key) => prefixes(values, key));
  const mtu = values.get("FLANNEL_MTU");
  const masquerading = values.get("FLANNEL_IPMASQ");
  const missing = [
    ...(networks.length === 0 ? [NETWORK_KEYS.join(" or ")] : []),
    ...(subnets.length === 0 ? [SUBNET_KEYS.join(" or ")] : []),
    ...(mtu === undefined ? ["FLANNEL_MTU"] : []),
    ...(masquerading === undefined ? ["FLANNEL_IPMASQ"] : []),
  ];
  if (mtu === undefined || masquerading === undefined || missing.length > 0) {
    throw new SubnetEnvError(`is missing ${missing.join(", ")}`);
  }
  if (!/^[0-9]{1,5}$/.test(mtu)) throw new SubnetEnvError(`FLANNEL_MTU: expected a number of bytes, got "${mtu}"`);
  return { networks, subnets, mtu: Number(mtu), isMasquerading: masquerading === "true" };
}

function parseLines(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const equals = line.indexOf("=");
    if (equals > 0) values.set(line.slice(0, equals).trim(), line.slice(equals + 1).trim());
  }
  return values;
}

/**
 * Parses prefixes. Newer releases of flanneld list several networks separated by commas. A subnet is written as its
 * first address.
 */
function prefixes(values: ReadonlyMap<string, string>, key: string): Prefix[] {
  const text = values.get(key) ?? "";
  return text
    .split(",")
    .filter((part) => part !== "")
    .map((part) => {
      try {
        return networkOf(parsePrefix(part));
      } catch (error) {
        if (!(error instanceof AddressError)) throw error;
        throw new SubnetEnvError(`${key}: ${error.message}`);
      }
    });
}
