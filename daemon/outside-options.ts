/** weftd's flags about hosts outside the cluster: of such a host, and of the node that forwards for it. */
import { hostname } from "node:os";
import { InvalidArgumentError, type Option } from "commander";
import { type Address, AddressError, parseAddress } from "../pkg/ip/address.ts";
import type { Prefix } from "../pkg/ip/prefix.ts";
import { flag, parseNetworks } from "./flag.ts";
import type { Options } from "./options.ts";

/** A node, by its name or by an address. */
export type Via = { readonly name: string } | { readonly address: Address };

export interface OutsideOptions {
  /** False: this host is no node, and runs no pods; it reaches the cluster's Services. */
  readonly pods: boolean;
  /** The node that forwards to the pods of nodes on none of this host's links. */
  readonly via: Via | undefined;
  /** Hosts outside the cluster that this node forwards for. */
  readonly outsideHosts: readonly Prefix[];
}

/** Of a node alone. */
const OF_NODES = [
  ...["iface", "ifaceCidr", "ifaceRegex", "ifaceCanReach", "publicIp", "attach", "nonMasqueradeCidrs", "vxlanFrom"],
  ...["cniConfDir", "outsideHosts"],
];

/**
 * Where no flag says otherwise: no load balancer asks such a host for its health, and its settings are not weftd's to make
 * larger.
 */
const IMPLIED: Partial<Options> = {
  ...{ healthzBindAddress: "none", conntrackMaxPerCore: 0 },
  ...{ conntrackTcpTimeoutEstablished: 0, conntrackTcpTimeoutCloseWait: 0 },
};

export function outsideFlags(): readonly Option[] {
  return [
    flag("--no-pods", "WEFTD_NO_PODS", "serve a host that is no node and runs no pods: it only reaches Services")
      .implies({ nodeName: hostname(), ...IMPLIED })
      .conflicts(OF_NODES),
    flag(
      "--via <node>",
      "WEFTD_VIA",
      "with --no-pods: reach nodes on none of this host's links through this node, by name or address",
    ).argParser(parseVia),
    flag(
      "--outside-hosts <networks>",
      "WEFTD_OUTSIDE_HOSTS",
      "masquerade what hosts outside the cluster in these networks send to pods through this node (their --via); commas between",
    )
      .argParser(parseNetworks)
      .default([], "none"),
  ];
}

/** A Node's name is a DNS subdomain (RFC 1123). "192.0.2.1" could be one, and is taken for an address. */
export function parseVia(text: string): Via {
  try {
    return { address: parseAddress(text) };
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
  }
  if (/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(text) && !/^[0-9.]+$/.test(text)) return { name: text };
  throw new InvalidArgumentError("Expected the name of a Node, or an address.");
}

/** What is wrong with flags together; undefined: nothing. */
export function outsideMistake({
  pods,
  via,
  serviceProxy,
}: Pick<OutsideOptions, "pods" | "via"> & { readonly serviceProxy: string }): string | undefined {
  if (!pods && serviceProxy === "none") return "--no-pods needs --service-proxy: there is nothing else to do";
  if (pods && via !== undefined) return "--via is for hosts with --no-pods: nodes find each other by themselves";
  return undefined;
}
