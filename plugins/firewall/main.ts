/**
 * `firewall`: lets a container's packets through the host, whatever other programs' forward chains do with packets they
 * do not know. Chained behind the plugin that made the interface; takes the reference plugin's configuration.
 */
import { collectGarbage } from "../../pkg/attachment/garbage.ts";
import { removeLegacyFirewall } from "../../pkg/attachment/legacy.ts";
import { garbageOf, ownerOf } from "../../pkg/attachment/owner.ts";
import { CniError, ErrorCode, isCniError, messageOf } from "../../pkg/cni/errors.ts";
import type { Plugin, Request } from "../../pkg/cni/plugin.ts";
import type { Result } from "../../pkg/cni/result.ts";
import { undoing } from "../../pkg/cni/undo.ts";
import { versionsFrom } from "../../pkg/cni/versions.ts";
import { type Address, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import type { Firewall } from "../../pkg/kernel/firewall.ts";
import { probeNetfilter } from "../../pkg/netlink/ruleset.ts";
import { type FirewallConfig, lenientConfig, parseFirewallConfig } from "./config.ts";
import { Firewalld } from "./firewalld.ts";
import { checkIsolation, isolatePort } from "./isolation.ts";
import { addRules, checkRules, removeRules } from "./rules.ts";

export const plugin: Plugin = {
  name: "firewall",
  about: "lets a container's packets through the host's firewall",
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
    collectGarbage(request, [() => remove(request, isGarbage, [])]);
  },
};

/** Our table knows every pod, whoever lets it through: DEL and GC find there what no prevResult tells. */
function add(request: Request): Result {
  const config = parseFirewallConfig(request.config);
  const result = request.requirePrevResult();
  const wanted = wantedOf(request, config, result);
  if (wanted.pods.length > 0)
    withFirewalld(request, config, (firewalld) => letThrough(request, config, result, wanted, firewalld));
  return result;
}

function letThrough(
  request: Request,
  config: FirewallConfig,
  result: Result,
  wanted: Firewall,
  firewalld: Firewalld | undefined,
): void {
  const owner = ownerOf(request);
  undoing((undo) => {
    undo.push(() => removeRules(request.system, (mark) => mark === owner, config));
    addRules(request.system, wanted, optionsFor(config, firewalld));
    if (config.ingressPolicy === "isolated") isolatePort(request.system, result, undo);
    for (const { address } of firewalld === undefined ? [] : wanted.pods) {
      undo.push(() => firewalld?.remove(address));
      firewalld?.add(address);
    }
  });
}

function check(request: Request): void {
  const config = parseFirewallConfig(request.config);
  const result = request.requirePrevResult();
  const wanted = wantedOf(request, config, result);
  if (config.ingressPolicy === "isolated") checkIsolation(request.system, result);
  withFirewalld(request, config, (firewalld) => {
    checkRules(request.system, wanted, optionsFor(config, firewalld));
    const missing = firewalld === undefined ? [] : wanted.pods.filter(({ address }) => !firewalld.holds(address));
    if (missing.length === 0) return;
    const addresses = missing.map(({ address }) => formatAddress(address)).join(", ");
    throw new CniError(ErrorCode.internal, `CHECK: ${addresses} not in firewalld's zone ${config.zone}`);
  });
}

/** What firewalld lets through needs no rules of ours in its chains. */
function optionsFor(config: FirewallConfig, firewalld: Firewalld | undefined) {
  const { adminChain } = config;
  return firewalld === undefined
    ? { adminChain }
    : { adminChain, except: ({ table }: { table: string }) => table === "firewalld" };
}

/** With firewalld where it is wanted: by name, or because it runs. Throws `CniError` 11 where it is wanted and does not. */
function withFirewalld(
  request: Request,
  { backend, zone }: Pick<FirewallConfig, "backend" | "zone">,
  work: (firewalld: Firewalld | undefined) => void,
): void {
  if (backend === "nftables") {
    work(undefined);
    return;
  }
  Firewalld.use(request.system, zone, (firewalld) => {
    if (firewalld === undefined && backend === "firewalld") {
      throw new CniError(
        ErrorCode.tryAgainLater,
        "backend: firewalld does not run (nobody owns its name on the system's D-Bus): start it, or leave the key out",
      );
    }
    work(firewalld);
  });
}

function wantedOf(request: Request, { ingressPolicy }: FirewallConfig, result: Result): Firewall {
  const owner = ownerOf(request);
  const addresses = result.ips.map(({ address }) => address.address);
  if (ingressPolicy === undefined) {
    return { pods: addresses.map((address) => ({ owner, address })), policies: new Map() };
  }
  const bridge = result.interfaces[0]?.name;
  if (bridge === undefined || bridge === "") {
    throw request.config.invalid(
      "ingressPolicy",
      "a chain in which bridge comes before firewall: prevResult names no bridge",
    );
  }
  return {
    pods: addresses.map((address) => ({ owner, address, bridge })),
    policies: new Map([[bridge, ingressPolicy]]),
  };
}

/** None where prevResult is missing, or is none that anybody understands. */
function toldAddresses(request: Request): readonly Address[] {
  try {
    return request.prevResult?.ips.map(({ address }) => address.address) ?? [];
  } catch (error) {
    if (isCniError(error)) return [];
    throw error;
  }
}

function del(request: Request): void {
  const owner = ownerOf(request);
  const addresses = toldAddresses(request);
  const isOurs = remove(request, (mark) => mark === owner, addresses);
  if (!isOurs) removeLegacyFirewall(request.system, addresses, lenientConfig(request.config));
}

/**
 * Rules and zones' sources of all owners that `isWanted` names, and of these addresses where nobody else has them. True
 * when there were such owners.
 */
function remove(request: Request, isWanted: (owner: string) => boolean, addresses: readonly Address[]): boolean {
  const config = lenientConfig(request.config);
  const { left, gone } = removeRules(request.system, isWanted, config);
  const sources = [...gone, ...addresses.filter((address) => !gone.some((known) => isSameAddress(known, address)))];
  const free = sources.filter((address) => !left.some((held) => isSameAddress(held, address)));
  if (free.length > 0 && request.config.value("backend") !== "nftables") {
    Firewalld.use(request.system, config.zone, (firewalld) => {
      for (const address of free) firewalld?.remove(address);
    });
  }
  return gone.length > 0;
}
