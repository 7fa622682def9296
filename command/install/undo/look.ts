/** Reads the state from which the hand-over to the reference plugins is planned. Changes nothing. */

import type { CachedAttachment } from "../../../pkg/attachment/cached.ts";
import { readCachedAttachment } from "../../../pkg/attachment/cached-attachments.ts";
import { findHostTools, findProgram, type Tools } from "../../../pkg/attachment/legacy-xtables.ts";
import { Bus } from "../../../pkg/dbus/bus.ts";
import { CACHE_DIRECTORIES, INGRESS_IFB_START, MARK_START, POD_TABLE, SENDERS_TABLE } from "../../../pkg/footprint.ts";
import { FORWARD_OPTIONS } from "../../../pkg/foreign/foreign-forward.ts";
import { lookAtForwarding } from "../../../pkg/foreign/forward-look.ts";
import { lookAtReferenceTables } from "../../../pkg/foreign/reference-nftables.ts";
import { type Address, type Family, formatAddress } from "../../../pkg/ip/address.ts";
import { type Link, linkDump, parseLink } from "../../../pkg/kernel/link.ts";
import { describeOwner } from "../../../pkg/kernel/owner.ts";
import { type BlockingNetlink, openNetfilter, openRoute } from "../../../pkg/netlink/blocking.ts";
import type { Message, Query } from "../../../pkg/netlink/message.ts";
import { lacksNetfilter, readGeneration, readRuleset } from "../../../pkg/netlink/ruleset.ts";
import { type NftRule, placeText, readTables, type TablePlace, tablesDump } from "../../../pkg/nft/ruleset.ts";
import type { System } from "../../../pkg/sys/system.ts";
import { firewallDumps, readFirewall, type SeenFirewall } from "../../../pkg/tables/firewall.ts";
import { macSpoofElementDumps, readGuards } from "../../../pkg/tables/mac-spoof.ts";
import { podMasqueradeDumps, readPodMasquerade } from "../../../pkg/tables/pod-masquerade.ts";
import { lookAtPortMapElements } from "../../../pkg/tables/port-map.ts";
import { readPortMap } from "../../../pkg/tables/port-map-reading.ts";
import { CachedResults } from "../../ipam/results.ts";
import { readNamespaces } from "../../node/namespaces.ts";
import type { OwnTables } from "./states.ts";

export const FAMILIES = [4, 6] as const;

/** The content of weft's tables, and the kernel's messages from which changes are planned. */
export interface SeenTables extends OwnTables {
  /** Read before everything else. */
  readonly generation: number | undefined;
  readonly dumped: readonly Message[];
  readonly seenFirewall: SeenFirewall;
  /** weft's existing tables for attachments. */
  readonly places: readonly TablePlace[];
}

/** Tables for attachments: executables write them, and do not repair them. */
const OWN_TABLES: readonly string[] = [...Object.values(POD_TABLE), SENDERS_TABLE];

export function lookAtTables(netfilter: BlockingNetlink): SeenTables {
  const generation = readGeneration(netfilter);
  const read = (questions: readonly Query[]) => readRuleset(netfilter, questions);
  const dumped = [
    ...read([...podMasqueradeDumps(), ...macSpoofElementDumps(), ...firewallDumps()]),
    ...lookAtPortMapElements(read),
  ];
  const seenFirewall = readFirewall(dumped);
  return {
    generation,
    dumped,
    seenFirewall,
    places: readTables(read([tablesDump()])).filter(({ table }) => OWN_TABLES.includes(table)),
    masquerades: readPodMasquerade(dumped),
    ports: readPortMap(dumped),
    guards: readGuards(dumped),
    firewall: seenFirewall,
  };
}

/** Rules of weft and of the reference plugins in nf_tables. Undefined if the kernel does not support nf_tables. */
export interface SeenRules {
  readonly tables: SeenTables;
  readonly reference: readonly NftRule[];
  /** weft's rules for pods in other programs' forward chains, which drop unknown packets. */
  readonly foreign: readonly NftRule[];
}

export function lookAtAllRules(system: System): SeenRules | undefined {
  try {
    const netfilter = openNetfilter(system);
    try {
      const read = (questions: readonly Query[]) => readRuleset(netfilter, questions);
      const { rules } = lookAtForwarding(read, FORWARD_OPTIONS);
      return {
        tables: lookAtTables(netfilter),
        reference: lookAtReferenceTables(read),
        foreign: rules.filter(({ comment }) => comment?.startsWith(MARK_START) === true),
      };
    } finally {
      netfilter.close();
    }
  } catch (error) {
    if (lacksNetfilter(error)) return undefined;
    throw error;
  }
}

/** The text for an operator. */
export function foreignRuleText(rule: NftRule): string {
  const place = placeText(rule);
  return (
    `the rule of ${describeOwner(rule.comment ?? "")} in ${place}, a chain that drops unknown packets: the reference has ` +
    `no such rule; once the pod is gone, run nft delete rule ${place} handle ${rule.handle}`
  );
}

export interface Node {
  readonly cached: readonly CachedAttachment[];
  /** Devices that shape traffic with some subnets only. */
  readonly subnetShapers: readonly Pick<Link, "name" | "alias">[];
  readonly iptables: ReadonlySet<Family>;
  /** The path of `nft`. */
  readonly nft: string | undefined;
  readonly hasFirewalld: boolean;
  isAlive(mark: string, addresses: readonly Address[]): boolean;
}

/** Throws `SystemError` and `NetlinkError`. */
export function lookAtNode(system: System, cacheDir: string | undefined): Node {
  const { addresses: held, obstacle, views } = readNamespaces(system);
  const results = new CachedResults(system, { directories: CACHE_DIRECTORIES, own: cacheDir, views });
  const links = readHostLinks(system);
  // A device that shapes a pod's traffic may outlive the pod. The host's end of its veth pair does not.
  const marks = new Set(links.filter(({ kind }) => kind !== "ifb").map(({ alias }) => alias));
  const inUse = new Set(held.map(({ address }) => address));
  return {
    subnetShapers: links.filter(isSubnetShaper),
    cached: results.paths().flatMap((path) => readCachedAttachment(system, path) ?? []),
    iptables: new Set(FAMILIES.filter((family) => findProgram(system, RESTORE[family]) !== undefined)),
    nft: findProgram(system, "nft"),
    hasFirewalld: hasFirewalld(system),
    isAlive: (mark, addresses) =>
      obstacle !== undefined || marks.has(mark) || addresses.some((address) => inUse.has(formatAddress(address))),
  };
}

function readHostLinks(system: System): Link[] {
  const host = openRoute(system);
  try {
    return host.dump(linkDump()).map(parseLink);
  } finally {
    host.close();
  }
}

/** True for the second of the two devices that `bandwidth` creates if it shapes only packets of some subnets. */
function isSubnetShaper({ name, kind, alias }: Link): boolean {
  return kind === "ifb" && name.startsWith(INGRESS_IFB_START) && alias.startsWith(MARK_START);
}

const RESTORE = { 4: "iptables-restore", 6: "ip6tables-restore" } as const;

const FIREWALLD = "org.fedoraproject.FirewallD1";

function hasFirewalld(system: System): boolean {
  const bus = Bus.open(system);
  try {
    return bus?.hasOwner(FIREWALLD) === true;
  } finally {
    bus?.close();
  }
}

/** Returns the host's programs for a table. Undefined if the table cannot be read. */
export function toolsFor(system: System, family: Family, table: "nat" | "filter"): Tools | undefined {
  return findHostTools(system, family, table);
}
