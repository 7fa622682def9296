/**
 * `firewall`: lets a container's packets through the host, whatever other programs' forward chains do with packets they
 * do not know. Chained behind the plugin that made the interface; takes the reference plugin's configuration.
 */
import { collectGarbage } from "../../pkg/attachment/garbage.ts";
import { removeLegacyFirewall } from "../../pkg/attachment/legacy.ts";
import { garbageOf, ownerOf } from "../../pkg/attachment/owner.ts";
import { CniError, ErrorCode, messageOf } from "../../pkg/cni/errors.ts";
import type { Plugin, Request } from "../../pkg/cni/plugin.ts";
import type { Result } from "../../pkg/cni/result.ts";
import { undoing } from "../../pkg/cni/undo.ts";
import { versionsFrom } from "../../pkg/cni/versions.ts";
import type { Firewall } from "../../pkg/kernel/firewall.ts";
import { probeNetfilter } from "../../pkg/netlink/ruleset.ts";
import { type FirewallConfig, lenientConfig, parseFirewallConfig } from "./config.ts";
import { addRules, checkRules, removeRules } from "./rules.ts";

export const plugin: Plugin = {
  name: "firewall",
  about: "lets a container's packets through the host's firewall",
  versions: versionsFrom("0.4.0"),
  usesNamespace: false,
  add,
  del,
  check(request) {
    const config = parseFirewallConfig(request.config);
    const result = request.requirePrevResult();
    checkRules(request.system, wantedOf(request, config, result), config);
  },
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
    collectGarbage(request, [() => removeRules(request.system, isGarbage, lenientConfig(request.config))]);
  },
};

function add(request: Request): Result {
  const config = parseFirewallConfig(request.config);
  const result = request.requirePrevResult();
  const wanted = wantedOf(request, config, result);
  if (wanted.pods.length > 0) undoing(() => addRules(request.system, wanted, config));
  return result;
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

function del(request: Request): void {
  const owner = ownerOf(request);
  const config = lenientConfig(request.config);
  removeRules(request.system, (mark) => mark === owner, config);
  const addresses = request.prevResult?.ips.map(({ address }) => address.address) ?? [];
  removeLegacyFirewall(request.system, addresses, config);
}
