/**
 * The reference firewall plugin's rules in legacy iptables tables, changed with the host's own programs. Used if the
 * kernel has such a table, or if the host's `iptables` is the legacy one.
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

/** The table of one family that must have rules for pods, with the programs that change it. */
export interface XtablesFilter {
  readonly family: Family;
  readonly tools: Tools;
}

/** Returns the tables of these families that are in use, if the host has programs to read them. */
export function findXtables(system: System, families: ReadonlySet<Family>): XtablesFilter[] {
  return [...families].flatMap((family): XtablesFilter[] => {
    if (!hasXtable(system, family, TABLE) && !prefersXtables(system, family)) return [];
    const tools = findTools(system, family, TABLE);
    return tools === undefined ? [] : [{ family, tools }];
  });
}

/**
 * Like `findXtables`. Throws `CniError` if the kernel has such a table and the host has no program to change it: its
 * FORWARD chain may drop packets, and the pod would have no connectivity.
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
    `firewall: the kernel has a table ${TABLE} of legacy ${program}, whose FORWARD chain may drop the pod's packets, ` +
      `but ${program}-legacy-save and ${program}-legacy-restore, which could add rules, are not in PATH or ` +
      `/usr/sbin: install iptables; or remove the table (modprobe -r ` +
      `${closed === 4 ? "iptable" : "ip6table"}_filter); or, if its rules accept ` +
      `the pod's packets, set "backend": "nftables"`,
  );
}

/** Returns the bridges that the reference plugin isolates from each other in these tables. */
export function isolatedInXtables(filters: readonly XtablesFilter[]): string[] {
  return [...new Set(filters.flatMap(({ tools }) => xtablesIsolatedBridges(tools.saved)))];
}

/** Adds rules that accept the addresses. Idempotent. */
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

/**
 * Removes the rules for the addresses. Succeeds if there are none. Warns on standard error about a table that no
 * program can read.
 */
export function forgetInXtables(system: System, addresses: readonly Address[], adminChain: string): void {
  if (addresses.length === 0) return;
  const rules = () => `rules for ${addresses.map(formatAddress).join(" and ")} in ${PRIVATE_CHAIN}`;
  let hasChanged = false;
  changeXtables(system, TABLE, rules, (saved) => {
    const removal = xtablesFirewallRemoval(saved, addresses, adminChain);
    hasChanged ||= removal !== "";
    return removal;
  });
  // If two pods leave at once, each call still sees the other's rules. A second read after the last change sees
  // neither.
  if (hasChanged) changeXtables(system, TABLE, rules, (saved) => xtablesStructureRemoval(saved, adminChain));
}

/**
 * Returns a description of each program's table whose FORWARD chain drops packets and that lacks rules for one of these
 * addresses.
 */
export function lackingInXtables(filters: readonly XtablesFilter[], addresses: readonly Address[]): string[] {
  return filters
    .filter(({ family, tools }) => lacksXtablesAccepts(tools.saved, ofFamily(addresses, family)))
    .map(({ family }) => `rules for the pod in ${PRIVATE_CHAIN} of ${PROGRAM[family]}-legacy`);
}

/** True if such tables have the rules for all of these addresses. */
export function holdsInXtables(filters: readonly XtablesFilter[], addresses: readonly Address[]): boolean {
  return addresses.every((address) =>
    filters.some(({ family, tools }) => family === address.family && holdsXtablesAccepts(tools.saved, [address])),
  );
}

function ofFamily(addresses: readonly Address[], family: Family): Address[] {
  return addresses.filter((address) => address.family === family);
}
