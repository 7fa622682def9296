/**
 * Source based routing, thought through: rules that send each address's packets to a table of its own, the interface's
 * routes in these tables, and what becomes of the main one. Pure.
 */

import type { Result, ResultAddress } from "../../pkg/cni/result.ts";
import { FIRST_SBR_TABLE } from "../../pkg/footprint.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { contains, isSamePrefix, networkOf, type Prefix } from "../../pkg/ip/prefix.ts";
import type { ObservedRoute, Route } from "../../pkg/kernel/route.ts";
import type { ObservedRule, SourceRule } from "../../pkg/kernel/rule.ts";
import { RT_TABLE_DEFAULT, RT_TABLE_LOCAL, RT_TABLE_MAIN } from "../../pkg/netlink/route.ts";
import { hasDefaultMetric } from "../../pkg/reconcile/route-plan.ts";
import type { SbrConfig } from "./config.ts";

/** fe80::/10: hosts on the link speak by these addresses whatever is routed. */
const LINK_LOCAL: Prefix = { address: { family: 6, value: 0xfe80n << 112n }, length: 10 };

export interface ObservedPod {
  /** All rules and routes of the pod's namespace. */
  readonly rules: readonly ObservedRule[];
  readonly routes: readonly ObservedRoute[];
}

export interface SbrPlan {
  readonly rules: readonly SourceRule[];
  /** New in their tables, in an order in which each gateway is reachable before it is needed. */
  readonly added: readonly Route[];
  /** Gone from the main table, gateways before the links that lead to them. */
  readonly removed: readonly ObservedRoute[];
  /** In the main table, in place of those to the same networks: with the address to send from. */
  readonly hints: readonly Route[];
}

/** The addresses of `previous` on the interface `ifName`; one that names no interface counts. */
export function addressesOf(previous: Result, ifName: string): ResultAddress[] {
  return previous.ips.filter(({ interface: at }) => {
    const told = at === undefined ? undefined : previous.interfaces[at];
    return told === undefined || told.name === ifName;
  });
}

export function planSbr(
  config: SbrConfig,
  ips: readonly ResultAddress[],
  index: number,
  observed: ObservedPod,
): SbrPlan {
  const { table } = config;
  if (table !== undefined) {
    const rules = ips.map(({ address }) => ({ source: address.address, table }));
    return { rules, added: [], removed: [], hints: [] };
  }
  const tables = freeTables(ips.length, observed);
  const own = observed.routes.filter((route) => isOwn(route, index));
  const stays = (route: Route) => isLinkLocal(route) || (config.addSourceHints && route.gateway === undefined);
  return {
    rules: ips.map(({ address }, at) => ({ source: address.address, table: tables[at] ?? 0 })),
    added: ips.flatMap((ip, at) => routesOf(config, ip, index, own).map((route) => ({ ...route, table: tables[at] }))),
    removed: linksFirst(own.filter((route) => !stays(route))).reverse(),
    hints: config.addSourceHints ? ips.flatMap(({ address }) => hintFor(address, index, own)) : [],
  };
}

/** True for tables that may be ADD's; 253 to 255 are the kernel's own. */
export function isTakeable(table: number): boolean {
  return table >= FIRST_SBR_TABLE && (table < RT_TABLE_DEFAULT || table > RT_TABLE_LOCAL);
}

/** As many as needed, which neither rules lead to nor routes stand in. */
function freeTables(count: number, { rules, routes }: ObservedPod): number[] {
  const taken = new Set([...rules, ...routes].map(({ table }) => table));
  const free: number[] = [];
  for (let table = FIRST_SBR_TABLE; free.length < count; table++)
    if (isTakeable(table) && !taken.has(table)) free.push(table);
  return free;
}

function isOwn({ outputIndex, table, isMultipath }: ObservedRoute, index: number): boolean {
  return table === RT_TABLE_MAIN && outputIndex === index && !isMultipath;
}

function isLinkLocal({ destination }: Route): boolean {
  return destination.address.family === 6 && contains(LINK_LOCAL, destination.address);
}

/** What of the main table's routes serves `ip`, and a default route where there is none among them. */
function routesOf(config: SbrConfig, ip: ResultAddress, index: number, own: readonly ObservedRoute[]): Route[] {
  const { family } = ip.address.address;
  const copied: Route[] = own.filter(
    (route) => route.destination.address.family === family && isFor(route, ip.address),
  );
  const configured = config.gateways.get(family);
  const kept = configured === undefined ? copied : copied.filter((route) => !isDefault(route));
  const gateway = kept.some(isDefault) ? undefined : (configured ?? ip.gateway);
  if (gateway === undefined) return linksFirst(kept);
  const destination: Prefix = { address: { family, value: 0n }, length: 0 };
  return linksFirst([{ destination, gateway, outputIndex: index }, ...kept]);
}

/** As the reference has it: a route that names neither a source nor a gateway serves every address. */
function isFor({ preferredSource, gateway }: Route, address: Prefix): boolean {
  const isOnNetwork = (named: Address | undefined) => named !== undefined && contains(networkOf(address), named);
  return (
    isOnNetwork(preferredSource) || isOnNetwork(gateway) || (preferredSource === undefined && gateway === undefined)
  );
}

/** A default route in whose place another cannot stand. */
function isDefault(route: Route): boolean {
  return route.destination.length === 0 && hasDefaultMetric(route);
}

/** A gateway is reachable only by what leads to its network. */
function linksFirst<T extends Route>(routes: readonly T[]): T[] {
  return [
    ...routes.filter(({ gateway }) => gateway === undefined),
    ...routes.filter(({ gateway }) => gateway !== undefined),
  ];
}

/** IPv4's networks have their source from the kernel. */
function hintFor(address: Prefix, index: number, own: readonly ObservedRoute[]): Route[] {
  const destination = networkOf(address);
  const held = own.find((route) => route.gateway === undefined && isSamePrefix(route.destination, destination));
  if (held?.preferredSource !== undefined) return [];
  return [{ ...(held ?? { destination, outputIndex: index }), preferredSource: address.address }];
}
