/**
 * The setting that weftd has switched on behind its guard of 127.0.0.1 (CVE-2020-8558): it goes off before the guard goes, and where
 * it cannot be switched off, the guard stays.
 */
import { isLoopbackGuard } from "../../pkg/foreign/forward-chains.ts";
import { ensureSysctl } from "../../pkg/kernel/sysctl.ts";
import type { TablePlace } from "../../pkg/nft/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import { ROUTE_LOCALNET } from "../../pkg/tables/loopback-guard.ts";

/** Where one of `tables` is the guard, and so the setting weftd's. Throws where it cannot be switched off. */
export function closeLoopback(system: System, tables: readonly TablePlace[]): void {
  if (tables.some(isLoopbackGuard)) ensureSysctl(system, ROUTE_LOCALNET, "0");
}

/** The commands that would do the same. */
export function closingText(tables: readonly TablePlace[]): string[] {
  return tables.some(isLoopbackGuard) ? [`sysctl -w ${ROUTE_LOCALNET.join(".")}=0`] : [];
}
