/**
 * `firewall`: accepts a container's packets on the host, even if other programs' forward chains drop unknown packets.
 * Runs after the plugin that creates the interface. Takes the reference plugin's configuration.
 */
import { wrong } from "../../pkg/attachment/check.ts";
import { type FirewallConfig, lenientConfig, parseFirewallConfig } from "../../pkg/attachment/firewall/config.ts";
import { planFirewall } from "../../pkg/attachment/firewall/plan.ts";
import { collectGarbage } from "../../pkg/attachment/garbage.ts";
import { removeLegacyFirewall } from "../../pkg/attachment/legacy.ts";
import { hasXtable, prefersXtables } from "../../pkg/attachment/legacy-xtables.ts";
import { garbageOf, ownerOf } from "../../pkg/attachment/owner.ts";
import {
  acceptInXtables,
  findXtables,
  forgetInXtables,
  holdsInXtables,
  isolatedInXtables,
  lackingInXtables,
  openXtables,
} from "../../pkg/attachment/xtables-firewall.ts";
import { CniError, ErrorCode, isCniError, messageOf } from "../../pkg/cni/errors.ts";
import { notice } from "../../pkg/cni/notice.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import type { Result } from "../../pkg/cni/result.ts";
import { undoing } from "../../pkg/cni/undo.ts";
import { versionsFrom } from "../../pkg/cni/versions.ts";
import { BusError } from "../../pkg/dbus/bus.ts";
import type { ForwardOptions } from "../../pkg/foreign/foreign-forward.ts";
import { type Address, type Family, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import { openNetfilter } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import { decode } from "../../pkg/netlink/message.ts";
import { NFT_MSG_NEWTABLE } from "../../pkg/netlink/nftables.ts";
import { probeNetfilter } from "../../pkg/netlink/ruleset.ts";
import { tablesDump } from "../../pkg/nft/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import type { Firewall } from "../../pkg/tables/firewall.ts";
import { Firewalld, notAnswering } from "./firewalld.ts";
import { checkIsolation, isolatePort } from "./isolation.ts";
import { addRules, findRules, type Removed, removeRules } from "./rules.ts";

export const plugin: Plugin = {
  name: "firewall",
  about: "accepts a container's packets in the host's firewall",
  versions: versionsFrom("0.4.0"),
  usesNamespace: false,
  add,
  del,
  check,
  status(request) {
    parseFirewallConfig(request.config);
    try {
      probeNetfilter(request.system);
    } catch (error) {
      throw new CniError(ErrorCode.notAvailable, `firewall needs a kernel with nf_tables: ${messageOf(error)}`, {
        cause: error,
      });
    }
  },
  gc(request) {
    const isGarbage = garbageOf(request);
    collectGarbage(request, [() => void remove(request, isGarbage, [])]);
  },
};

/**
 * Our table has an entry for every pod, whichever program accepts its packets. DEL and GC find there what prevResult
 * does not contain.
 */
function add(request: CniRequest): Result {
  const config = parseFirewallConfig(request.config);
  const result = request.requirePrevResult();
  const wanted = wantedOf(request, config, result);
  if (wanted.pods.length > 0)
    withFirewalld(request, config, (firewalld) => letThrough(request, config, result, wanted, firewalld));
  return result;
}

function letThrough(
  request: CniRequest,
  config: FirewallConfig,
  result: Result,
  wanted: Firewall,
  firewalld: Firewalld | undefined,
): void {
  const { system } = request;
  const owner = ownerOf(request);
  const addresses = wanted.pods.map(({ address }) => address);
  const filters = usesXtables(config, firewalld) ? openXtables(system, familiesOf(addresses)) : [];
  const isolated = isolatedInXtables(filters);
  undoing((undo) => {
    undo.push(() => removeRules(system, { isWanted: (mark) => mark === owner }, config, isolated));
    addRules(system, wanted, optionsFor(system, config, firewalld), isolated);
    if (filters.length > 0) undo.push(() => forgetInXtables(system, addresses, config.adminChain));
    acceptInXtables(system, filters, addresses, config.adminChain);
    if (config.ingressPolicy === "isolated") isolatePort(system, result, undo);
    for (const address of firewalld === undefined ? [] : addresses) {
      undo.push(() => firewalld?.remove(address));
      firewalld?.add(address);
    }
  });
  if (config.notice !== undefined) notice(system, "firewall", config.notice);
}

function check(request: CniRequest): void {
  const { system } = request;
  const config = parseFirewallConfig(request.config);
  const result = request.requirePrevResult();
  const wanted = wantedOf(request, config, result);
  if (wanted.pods.length === 0) return;
  withFirewalld(request, config, (firewalld) => {
    const addresses = wanted.pods.map(({ address }) => address);
    const filters = usesXtables(config, firewalld) ? findXtables(system, familiesOf(addresses)) : [];
    const outside = firewalld === undefined ? [] : addresses.filter((address) => !firewalld.holds(address));
    const { isOurs, missing } = findRules(system, wanted, optionsFor(system, config, firewalld));
    // If the reference plugin made the attachment, its rules are in one of three places.
    if (!isOurs && ((firewalld !== undefined && outside.length === 0) || holdsInXtables(filters, addresses))) return;
    const lacking = [...missing, ...(isOurs ? lackingInXtables(filters, addresses) : [])];
    if (lacking.length > 0) throw wrong(`rules that accept the container's packets are missing: ${lacking.join("; ")}`);
    if (isOurs && outside.length > 0)
      throw wrong(`${outside.map(formatAddress).join(", ")} not in firewalld's zone ${config.zone}`);
    if (isOurs && config.ingressPolicy === "isolated") checkIsolation(system, result);
  });
}

/**
 * Legacy iptables is left alone if firewalld accepts the container's packets, or the configuration allows nftables
 * only.
 */
function usesXtables({ backend }: FirewallConfig, firewalld: Firewalld | undefined): boolean {
  return backend !== "nftables" && firewalld === undefined;
}

function familiesOf(addresses: readonly Address[]): ReadonlySet<Family> {
  return new Set(addresses.map(({ family }) => family));
}

/**
 * If firewalld accepts the packets, its chains need no rules of ours, and iptables' chains need them only if they drop.
 * If the host's iptables is the legacy one, no tables of iptables on nf_tables are created.
 */
function optionsFor(system: System, { adminChain }: FirewallConfig, firewalld: Firewalld | undefined): ForwardOptions {
  if (firewalld !== undefined) return { adminChain, except: ({ table }) => table === "firewalld" };
  return { adminChain, inFilter: "always", makesTables: !prefersXtables(system, 4) };
}

/**
 * Calls `work` with firewalld if it is configured by name, or if it runs. Throws `CniError` 11 if it is configured by
 * name and does not run, or if it does not answer.
 */
function withFirewalld(
  request: CniRequest,
  { backend, zone }: Pick<FirewallConfig, "backend" | "zone">,
  work: (firewalld: Firewalld | undefined) => void,
): void {
  if (backend === "nftables" || backend === "iptables") {
    work(undefined);
    return;
  }
  useFirewalld(request, backend, zone, (firewalld) => {
    if (firewalld === undefined && backend === "firewalld") {
      throw new CniError(
        ErrorCode.tryAgainLater,
        "backend: firewalld does not run (its name has no owner on the system's D-Bus); start it, or remove the key",
      );
    }
    work(firewalld);
  });
}

/**
 * Assumes that there is no firewalld if D-Bus is broken and firewalld is not configured by name, as the reference
 * plugin does. But fails if firewalld's table is in the kernel, since the next reload of its rules would cut the pod
 * off.
 */
function useFirewalld(
  { system }: CniRequest,
  backend: unknown,
  zone: string,
  work: (firewalld: Firewalld | undefined) => void,
): void {
  let firewalld: Firewalld | undefined;
  try {
    firewalld = Firewalld.open(system, zone);
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    if (backend === "firewalld") throw notAnswering(error, "backend firewalld");
    if (hasTableOfFirewalld(system)) throw notAnswering(error, "firewalld, which has a table in the kernel");
    const advice = 'repair D-Bus, or set backend to "nftables"';
    notice(system, "firewall", `${error.message}: using nftables only, as if firewalld does not run; ${advice}`);
  }
  try {
    work(firewalld);
  } finally {
    firewalld?.close();
  }
}

/** False if the kernel does not support nf_tables. */
function hasTableOfFirewalld(system: System): boolean {
  const netfilter = openNetfilter(system);
  try {
    return netfilter
      .dump(tablesDump())
      .some((message) => decode(NFT_MSG_NEWTABLE, message).attributes.name === "firewalld");
  } catch (error) {
    if (isNetlinkError(error)) return false;
    throw error;
  } finally {
    netfilter.close();
  }
}

function wantedOf(request: CniRequest, config: FirewallConfig, result: Result): Firewall {
  return planFirewall(request.config, config, ownerOf(request), result);
}

/** Returns the addresses of prevResult. Empty if it is missing or invalid. */
function toldAddresses(request: CniRequest): readonly Address[] {
  try {
    return request.prevResult?.ips.map(({ address }) => address.address) ?? [];
  } catch (error) {
    if (isCniError(error)) return [];
    throw error;
  }
}

function del(request: CniRequest): void {
  const owner = ownerOf(request);
  const config = lenientConfig(request.config);
  const addresses = toldAddresses(request);
  const { gone, left } = remove(request, (mark) => mark === owner, addresses);
  if (gone.length === 0) removeLegacyFirewall(request.system, withoutHeld(addresses, left), left, config);
}

/**
 * Removes rules and sources of zones of all owners that `isWanted` selects, and of `addresses` if no other pod has
 * them.
 */
function remove(request: CniRequest, isWanted: (owner: string) => boolean, addresses: readonly Address[]): Removed {
  const { system } = request;
  const config = lenientConfig(request.config);
  const backend = request.config.value("backend");
  const families = ([4, 6] as const).filter((family) => hasXtable(system, family, "filter"));
  const filters = backend === "nftables" ? [] : findXtables(system, new Set(families));
  const { left, gone } = removeRules(system, { isWanted, addresses }, config, isolatedInXtables(filters));
  const known = [...gone, ...addresses.filter((address) => !gone.some((one) => isSameAddress(one, address)))];
  const free = withoutHeld(known, left);
  if (free.length === 0 || backend === "nftables") return { left, gone };
  forgetInXtables(system, free, config.adminChain);
  if (backend === "iptables") return { left, gone };
  useFirewalld(request, backend, config.zone, (firewalld) => {
    for (const address of free) firewalld?.remove(address);
  });
  return { left, gone };
}

function withoutHeld(addresses: readonly Address[], held: readonly Address[]): Address[] {
  return addresses.filter((address) => !held.some((one) => isSameAddress(one, address)));
}
