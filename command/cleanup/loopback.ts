/**
 * Switches off route_localnet, which weftd has switched on together with its guard of 127.0.0.1 (CVE-2020-8558). The
 * setting is switched off before the guard is removed. If that fails, the guard is kept.
 */
import { isLoopbackGuard } from "../../pkg/foreign/forward-chains.ts";
import { ensureSysctl } from "../../pkg/kernel/sysctl.ts";
import type { TablePlace } from "../../pkg/nft/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import { ROUTE_LOCALNET } from "../../pkg/tables/loopback-guard.ts";

/**
 * Switches the setting off if one of `tables` is the guard, since the setting is weftd's then. Throws if that fails.
 */
export function closeLoopback(system: System, tables: readonly TablePlace[]): void {
  if (tables.some(isLoopbackGuard)) ensureSysctl(system, ROUTE_LOCALNET, "0");
}

/** Returns the commands that do the same by hand. */
export function closingText(tables: readonly TablePlace[]): string[] {
  return tables.some(isLoopbackGuard) ? [`sysctl -w ${ROUTE_LOCALNET.join(".")}=0`] : [];
}
