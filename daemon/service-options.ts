/** weftd's flags about Services. */
import { InvalidArgumentError, type Option } from "commander";
import type { Prefix } from "../pkg/ip/prefix.ts";
import { type NodePortSelection, PRIMARY_ONLY } from "../pkg/services/node-port-addresses.ts";
import { flag, parseBoolean, parseNetworks } from "./flag.ts";

/** Bits of a packet's mark. */
const MARK_BITS = 32;

const PROXIES = ["none", "nftables"] as const;

export interface ServiceOptions {
  /** What carries connections to Services. `none`: weftd neither programs Services nor watches them. */
  readonly serviceProxy: (typeof PROXIES)[number];
  readonly nodeportAddresses: NodePortSelection;
  /** Which of Services' externalIPs are served. */
  readonly externalIps: ExternalIPs;
  /** Connections to ClusterIPs are masqueraded whatever their source. */
  readonly masqueradeAll: boolean;
  /** The bit of the packet mark that asks for masquerading. */
  readonly masqueradeBit: number;
}

/** Those in these networks, or all, or none. */
export type ExternalIPs = "all" | "none" | readonly Prefix[];

export function serviceFlags(): readonly Option[] {
  return [
    flag(
      "--service-proxy <mode>",
      "WEFTD_SERVICE_PROXY",
      "what carries connections to Services, in place of kube-proxy; none leaves Services to another program",
    )
      .choices(PROXIES)
      .default("none"),
    flag(
      "--nodeport-addresses <which>",
      "WEFTD_NODEPORT_ADDRESSES",
      "addresses of the node that NodePorts answer on: primary, all, localhost, networks; commas between",
    )
      .argParser(parseNodePortSelection)
      .default(PRIMARY_ONLY, "primary"),
    flag(
      "--external-ips <which>",
      "WEFTD_EXTERNAL_IPS",
      "Services' externalIPs to serve: all, none, or those in these networks; commas between",
    )
      .argParser(parseExternalIPs)
      .default("all"),
    flag(
      "--masquerade-all [boolean]",
      "WEFTD_MASQUERADE_ALL",
      "masquerade every connection to a ClusterIP, also those of the node's own pods",
    )
      .preset("true")
      .argParser(parseBoolean)
      .default(false),
    flag(
      "--masquerade-bit <number>",
      "WEFTD_MASQUERADE_BIT",
      "bit of the packet mark, 0 to 31, that tells which connections to Services are masqueraded",
    )
      .argParser(parseMarkBit)
      .default(14),
  ];
}

/** "primary", "localhost,192.0.2.0/24" */
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
  // A word that is none of the keywords is more likely a mistake in one of them.
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
