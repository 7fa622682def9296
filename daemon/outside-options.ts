/** weftd's flags for hosts outside the cluster: flags of such a host, and flags of the node that forwards for it. */
import { hostname } from "node:os";
import { InvalidArgumentError, type Option } from "commander";
import { type Address, AddressError, parseAddress } from "../pkg/ip/address.ts";
import type { Prefix } from "../pkg/ip/prefix.ts";
import { flag, parseNetworks } from "./flag.ts";
import type { Options } from "./options.ts";

/** A node, identified by its name or an address. */
export type Via = { readonly name: string } | { readonly address: Address };

export interface OutsideOptions {
  /** False if this host is not a node and runs no pods, and only reaches the cluster's Services. */
  readonly pods: boolean;
  /** The node that forwards to pods of nodes that are on none of this host's links. */
  readonly via: Via | undefined;
  /** Hosts outside the cluster for which this node forwards. */
  readonly outsideHosts: readonly Prefix[];
}

/** Options for nodes only. */
const OF_NODES = [
  ...["iface", "ifaceCidr", "ifaceRegex", "ifaceCanReach", "publicIp", "attach", "nonMasqueradeCidrs", "vxlanFrom"],
  ...["cniConfDir", "outsideHosts", "networkPolicy", "policyFail", "policyCutEstablished", "guardSenders"],
];

/**
 * Defaults on a host without pods: no load balancer checks the health of such a host, and weftd does not raise its
 * conntrack settings.
 */
const IMPLIED: Partial<Options> = {
  ...{ healthzBindAddress: "none", conntrackMaxPerCore: 0 },
  ...{ conntrackTcpTimeoutEstablished: 0, conntrackTcpTimeoutCloseWait: 0 },
};

export function outsideFlags(): readonly Option[] {
  return [
    flag("--no-pods", "WEFTD_NO_PODS", "serve a host that is not a node and runs no pods: only make Services reachable")
      .implies({ nodeName: hostname(), ...IMPLIED })
      .conflicts(OF_NODES),
    flag(
      "--via <node>",
      "WEFTD_VIA",
      "with --no-pods: reach nodes that are on none of this host's links through this node (name or address)",
    ).argParser(parseVia),
    flag(
      "--outside-hosts <networks>",
      "WEFTD_OUTSIDE_HOSTS",
      "masquerade packets to pods from hosts outside the cluster in these comma-separated networks, which use this node as --via",
    )
      .argParser(parseNetworks)
      .default([], "none"),
  ];
}

/**
 * Parses the value of --via. A Node's name is a DNS subdomain (RFC 1123). "192.0.2.1" could be a name, but is read as
 * an address.
 */
export function parseVia(text: string): Via {
  try {
    return { address: parseAddress(text) };
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
  }
  if (/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(text) && !/^[0-9.]+$/.test(text)) return { name: text };
  throw new InvalidArgumentError("Expected the name of a Node, or an address.");
}

/** Returns the error in a combination of flags; undefined if there is none. */
export function outsideMistake({
  pods,
  via,
  serviceProxy,
}: Pick<OutsideOptions, "pods" | "via"> & { readonly serviceProxy: string }): string | undefined {
  if (!pods && serviceProxy === "none") return "--no-pods requires --service-proxy: otherwise weftd has nothing to do";
  if (pods && via !== undefined) return "--via requires --no-pods: a node finds its peers through the API server";
  return undefined;
}
