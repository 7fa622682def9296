/**
 * `portmap`: maps ports of the node to ports of a container. Runs after the plugin that creates the interface. Takes
 * the reference plugin's configuration.
 */

import { wrong } from "../../pkg/attachment/check.ts";
import { collectGarbage } from "../../pkg/attachment/garbage.ts";
import { holdsLegacy, removeLegacy, removeLegacyGarbage } from "../../pkg/attachment/legacy.ts";
import { garbageOf, ownerOf } from "../../pkg/attachment/owner.ts";
import { type PortmapConfig, parsePortmapConfig } from "../../pkg/attachment/portmap/config.ts";
import { forgetConnections } from "../../pkg/attachment/portmap/connections.ts";
import { planPortMap, podAddresses } from "../../pkg/attachment/portmap/plan.ts";
import { CniError, ErrorCode, messageOf } from "../../pkg/cni/errors.ts";
import { notice } from "../../pkg/cni/notice.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import type { Result } from "../../pkg/cni/result.ts";
import { undoing } from "../../pkg/cni/undo.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { probeNetfilter } from "../../pkg/netlink/ruleset.ts";
import { EMPTY_PORT_MAP, type PortMap, type PortMapping } from "../../pkg/tables/port-mapping.ts";
import { allowLoopback, refusedLoopback } from "./localnet.ts";
import { addPorts, checkPorts, removeOwnPorts, removePorts } from "./ports.ts";

const FAMILIES = [4, 6] as const;

export const plugin: Plugin = {
  name: "portmap",
  about: "maps ports of the node to ports of a container",
  usesNamespace: false,
  add,
  del(request) {
    let isOurs = false;
    try {
      isOurs = forget(request, removeOwnPorts(request.system, ownerOf(request), expectedOf(request)));
    } finally {
      if (!isOurs) removeLegacy(request, ["portmap"]);
    }
  },
  check(request) {
    const wanted = wantedOf(parsePortmapConfig(request.config), request, request.requirePrevResult());
    if (wanted.mappings.length === 0) return;
    const families = FAMILIES.filter((of) => wanted.mappings.some(({ target }) => target.family === of));
    checkPorts(request.system, ownerOf(request), wanted, () => holdsLegacy(request, ["portmap"], families));
    const refused = loopbackTargets(wanted).flatMap((pod) => refusedLoopback(request.system, pod) ?? []);
    if (refused.length > 0) throw wrong(`ports do not answer on 127.0.0.1: ${refused.join(", ")} is not 1`);
  },
  status(request) {
    parsePortmapConfig(request.config);
    try {
      probeNetfilter(request.system);
    } catch (error) {
      throw new CniError(ErrorCode.notAvailable, `portmap needs a kernel with nf_tables: ${messageOf(error)}`, {
        cause: error,
      });
    }
  },
  gc(request) {
    const isGarbage = garbageOf(request);
    collectGarbage(request, [
      () => forget(request, removePorts(request.system, isGarbage)),
      () => removeLegacyGarbage(request, ["portmap"]),
    ]);
  },
};

function add(request: CniRequest): Result {
  const result = request.requirePrevResult();
  const config = parsePortmapConfig(request.config);
  const wanted = wantedOf(config, request, result);
  if (wanted.mappings.length === 0) return result;
  const { system } = request;
  if (config.iptablesKeys.length > 0) {
    notice(
      system,
      "portmap",
      `${config.iptablesKeys.join(", ")}: nftables maps the same connections, and iptables is not used`,
    );
  }
  undoing((undo) => {
    const replaced = addPorts(system, wanted);
    const owner = ownerOf(request);
    undo.push(() => removeOwnPorts(system, owner, wanted));
    // Only now: the table drops packets that this setting would allow.
    for (const pod of loopbackTargets(wanted)) allowLoopback(system, pod);
    forgetConnections(system, { opened: wanted.mappings, answered: replaced });
  });
  return result;
}

function wantedOf(config: PortmapConfig, request: CniRequest, result: Result): PortMap {
  return planPortMap(config, ownerOf(request), podAddresses(result, request.ifName));
}

/** IPv4 pods with ports that connections from the node's loopback addresses reach, which are masqueraded. */
function loopbackTargets({ mappings, masquerades }: PortMap): Address[] {
  const isMasqueraded = masquerades.some(({ source }) => source.address.family === 4);
  const target = mappings.map((mapping) => mapping.target).find(({ family }) => family === 4);
  return isMasqueraded && target !== undefined ? [target] : [];
}

/** Forgets connections to removed ports. True if there are any. */
function forget({ system }: CniRequest, removed: readonly PortMapping[]): boolean {
  forgetConnections(system, { answered: removed });
  return removed.length > 0;
}

/** The ports that ADD has mapped, if the request is like that of ADD. DEL succeeds with any other request, too. */
function expectedOf(request: CniRequest): PortMap {
  try {
    const config = parsePortmapConfig(request.config);
    if (config.ports.length === 0 || request.prevResult === undefined) return EMPTY_PORT_MAP;
    return wantedOf(config, request, request.prevResult);
  } catch (error) {
    if (error instanceof CniError) return EMPTY_PORT_MAP;
    throw error;
  }
}
