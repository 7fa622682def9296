/**
 * Plans source-based routing: rules that send each address's packets to its own table, the interface's routes in these
 * tables, and changes of the main table. Pure.
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

/** fe80::/10. Hosts on the link use these addresses regardless of routing. */
const LINK_LOCAL: Prefix = { address: { family: 6, value: 0xfe80n << 112n }, length: 10 };

export interface ObservedPod {
  /** All rules and routes of the pod's namespace. */
  readonly rules: readonly ObservedRule[];
  readonly routes: readonly ObservedRoute[];
}

export interface SbrPlan {
  readonly rules: readonly SourceRule[];
  /** New routes in their tables. The order makes each gateway reachable before it is needed. */
  readonly added: readonly Route[];
  /** Routes to remove from the main table, with routes through gateways before the links to them. */
  readonly removed: readonly ObservedRoute[];
  /** Routes of the main table with the address to send from. They replace routes to the same networks. */
  readonly hints: readonly Route[];
}

/** Returns the addresses of `previous` on the interface `ifName`, including addresses without an interface. */
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

/** True for tables that ADD may use. 253 to 255 are the kernel's. */
export function isTakeable(table: number): boolean {
  return table >= FIRST_SBR_TABLE && (table < RT_TABLE_DEFAULT || table > RT_TABLE_LOCAL);
}

/** Returns `count` tables that no rule refers to and no route is in. */
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

/** Returns the main table's routes for `ip`, and a default route if there is none among them. */
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

/**
 * True if the route serves the address. A route with neither a source nor a gateway serves every address, as with the
 * reference.
 */
function isFor({ preferredSource, gateway }: Route, address: Prefix): boolean {
  const isOnNetwork = (named: Address | undefined) => named !== undefined && contains(networkOf(address), named);
  return (
    isOnNetwork(preferredSource) || isOnNetwork(gateway) || (preferredSource === undefined && gateway === undefined)
  );
}

/** True for a default route that conflicts with another one. */
function isDefault(route: Route): boolean {
  return route.destination.length === 0 && hasDefaultMetric(route);
}

/** Sorts routes so that the routes to a gateway's network come before routes through the gateway. */
function linksFirst<T extends Route>(routes: readonly T[]): T[] {
  return [
    ...routes.filter(({ gateway }) => gateway === undefined),
    ...routes.filter(({ gateway }) => gateway !== undefined),
  ];
}

/** Returns a route with the source hint. The kernel sets the source of IPv4's networks itself. */
function hintFor(address: Prefix, index: number, own: readonly ObservedRoute[]): Route[] {
  const destination = networkOf(address);
  const held = own.find((route) => route.gateway === undefined && isSamePrefix(route.destination, destination));
  if (held?.preferredSource !== undefined) return [];
  return [{ ...(held ?? { destination, outputIndex: index }), preferredSource: address.address }];
}
