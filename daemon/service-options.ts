/** weftd's flags for Services. */
import { InvalidArgumentError, type Option } from "commander";
import type { Prefix } from "../pkg/ip/prefix.ts";
import { type NodePortSelection, PRIMARY_ONLY } from "../pkg/services/node-port-addresses.ts";
import { flag, parseBoolean, parseNetworks } from "./flag.ts";

/** The number of bits of a packet's mark. */
const MARK_BITS = 32;

const PROXIES = ["none", "nftables"] as const;

export interface ServiceOptions {
  /** The proxy for Services. `none` means that weftd neither programs nor watches Services. */
  readonly serviceProxy: (typeof PROXIES)[number];
  readonly nodeportAddresses: NodePortSelection;
  /** The externalIPs of Services that are served. */
  readonly externalIps: ExternalIPs;
  /** Masquerades connections to ClusterIPs regardless of their source. */
  readonly masqueradeAll: boolean;
  /** The bit of the packet mark that marks a connection for masquerading. */
  readonly masqueradeBit: number;
}

/** All externalIPs, none, or those in these networks. */
export type ExternalIPs = "all" | "none" | readonly Prefix[];

export function serviceFlags(): readonly Option[] {
  return [
    flag(
      "--service-proxy <mode>",
      "WEFTD_SERVICE_PROXY",
      "program Services in this mode, instead of kube-proxy; none leaves Services to another program",
    )
      .choices(PROXIES)
      .default("none"),
    flag(
      "--nodeport-addresses <which>",
      "WEFTD_NODEPORT_ADDRESSES",
      "serve NodePorts on these addresses of the node: primary, all, localhost, networks; comma-separated",
    )
      .argParser(parseNodePortSelection)
      .default(PRIMARY_ONLY, "primary"),
    flag(
      "--external-ips <which>",
      "WEFTD_EXTERNAL_IPS",
      "serve these externalIPs of Services: all, none, or those in these comma-separated networks",
    )
      .argParser(parseExternalIPs)
      .default("all"),
    flag(
      "--masquerade-all [boolean]",
      "WEFTD_MASQUERADE_ALL",
      "masquerade every connection to a ClusterIP, including those from this node's pods",
    )
      .preset("true")
      .argParser(parseBoolean)
      .default(false),
    flag(
      "--masquerade-bit <number>",
      "WEFTD_MASQUERADE_BIT",
      "use this bit of the packet mark, 0 to 31, to mark connections to Services for masquerading",
    )
      .argParser(parseMarkBit)
      .default(14),
  ];
}

/** Parses "primary" or "localhost,192.0.2.0/24". */
export function parseNodePortSelection(text: string): NodePortSelection {
  const parts = text.split(",").map((part) => part.trim());
  const ranges = parts.filter((part) => !KEYWORDS.has(part)).flatMap(parseNodePortRange);
  return {
    hasPrimary: parts.includes("primary"),
    hasAll: parts.includes("all"),
    hasLocalhost: parts.includes("localhost"),
    ranges,
  };
}

const KEYWORDS: ReadonlySet<string> = new Set(["primary", "all", "localhost"]);

function parseNodePortRange(part: string): readonly Prefix[] {
  // A word that is not a keyword is more likely a misspelt keyword than a network.
  if (/^[A-Za-z]*$/.test(part))
    throw new InvalidArgumentError(`Expected primary, all, localhost or networks, got "${part}".`);
  return parseNetworks(part);
}

export function parseExternalIPs(text: string): ExternalIPs {
  return text === "all" || text === "none" ? text : parseNetworks(text);
}

export function parseMarkBit(text: string): number {
  const bit = Number(text);
  if (!/^\d+$/.test(text) || bit >= MARK_BITS) throw new InvalidArgumentError("Expected a bit from 0 to 31.");
  return bit;
}
