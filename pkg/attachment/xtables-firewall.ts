/**
 * The reference firewall plugin's rules in the tables of legacy iptables, by the host's own programs: where the kernel
 * has such a table, or the host's `iptables` is the legacy one.
 */

import { CniError, ErrorCode } from "../cni/errors.ts";
import { PRIVATE_CHAIN } from "../footprint.ts";
import {
  holdsXtablesAccepts,
  lacksXtablesAccepts,
  xtablesFirewallAddition,
  xtablesFirewallRemoval,
  xtablesIsolatedBridges,
  xtablesStructureRemoval,
} from "../foreign/legacy-xtables.ts";
import { type Address, type Family, formatAddress } from "../ip/address.ts";
import type { System } from "../sys/system.ts";
import { changeSaved, changeXtables, findTools, hasXtable, prefersXtables, type Tools } from "./legacy-xtables.ts";

const TABLE = "filter";
const PROGRAM = { 4: "iptables", 6: "ip6tables" } as const;

/** The families' tables that have to hold rules for pods, each with the programs that change it. */
export interface XtablesFilter {
  readonly family: Family;
  readonly tools: Tools;
}

/** The tables of these families that are in use, as far as the host has programs to look into them. */
export function findXtables(system: System, families: ReadonlySet<Family>): XtablesFilter[] {
  return [...families].flatMap((family): XtablesFilter[] => {
    if (!hasXtable(system, family, TABLE) && !prefersXtables(system, family)) return [];
    const tools = findTools(system, family, TABLE);
    return tools === undefined ? [] : [{ family, tools }];
  });
}

/**
 * The same. Throws `CniError` where the kernel has such a table and the host has no program to change it: FORWARD may drop
 * there, so that the pod would have no connection.
 */
export function openXtables(system: System, families: ReadonlySet<Family>): XtablesFilter[] {
  const found = findXtables(system, families);
  const closed = [...families].find(
    (family) => hasXtable(system, family, TABLE) && !found.some((filter) => filter.family === family),
  );
  if (closed === undefined) return found;
  const program = PROGRAM[closed];
  throw new CniError(
    ErrorCode.internal,
    `firewall: the kernel has a table ${TABLE} of legacy ${program}, where FORWARD may drop the container's packets, and ` +
      `neither PATH nor /usr/sbin has ${program}-legacy-save and ${program}-legacy-restore to add its rules: install ` +
      `iptables; or remove the table (modprobe -r ${closed === 4 ? "iptable" : "ip6table"}_filter); or, if its rules let ` +
      `the container's packets through, set "backend": "nftables"`,
  );
}

/** The bridges that the reference plugin closes to each other there. */
export function isolatedInXtables(filters: readonly XtablesFilter[]): string[] {
  return [...new Set(filters.flatMap(({ tools }) => xtablesIsolatedBridges(tools.saved)))];
}

/** Repeating it is safe. */
export function acceptInXtables(
  system: System,
  filters: readonly XtablesFilter[],
  addresses: readonly Address[],
  adminChain: string,
): void {
  for (const { family, tools } of filters) {
    const own = addresses.filter((address) => address.family === family);
    if (own.length > 0) changeSaved(system, tools, TABLE, (saved) => xtablesFirewallAddition(saved, own, adminChain));
  }
}

/** Silent where there are none; a table that no program can look into is named on standard error. */
export function forgetInXtables(system: System, addresses: readonly Address[], adminChain: string): void {
  if (addresses.length === 0) return;
  const rules = () => `rules for ${addresses.map(formatAddress).join(" and ")} in ${PRIVATE_CHAIN}`;
  let hasChanged = false;
  changeXtables(system, TABLE, rules, (saved) => {
    const removal = xtablesFirewallRemoval(saved, addresses, adminChain);
    hasChanged ||= removal !== "";
    return removal;
  });
  // Of two that leave at once each sees the other; a second look after the last change sees neither.
  if (hasChanged) changeXtables(system, TABLE, rules, (saved) => xtablesStructureRemoval(saved, adminChain));
}

/** The programs whose FORWARD drops and has no rules for one of these addresses. */
export function lackingInXtables(filters: readonly XtablesFilter[], addresses: readonly Address[]): string[] {
  return filters
    .filter(({ family, tools }) => lacksXtablesAccepts(tools.saved, ofFamily(addresses, family)))
    .map(({ family }) => `rules for the container in ${PRIVATE_CHAIN} of ${PROGRAM[family]}-legacy`);
}

/** True where such tables hold the rules of all of these addresses. */
export function holdsInXtables(filters: readonly XtablesFilter[], addresses: readonly Address[]): boolean {
  return addresses.every((address) =>
    filters.some(({ family, tools }) => family === address.family && holdsXtablesAccepts(tools.saved, [address])),
  );
}

function ofFamily(addresses: readonly Address[], family: Family): Address[] {
  return addresses.filter((address) => address.family === family);
}
