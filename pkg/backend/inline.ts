/**
 * `peers` in a plugin's own configuration, for hosts without weftd: the same data path, from a list in the
 * configuration.
 *
 *     { "type": "host-gw", "device": "eth0",
 *       "peers": [{ "name": "b", "subnets": ["10.1.2.0/24"], "addresses": ["192.0.2.2"] }] }
 *     { "type": "vxlan", "device": "eth0", "vni": 1, "port": 8472, "mac": "0a:00:00:00:00:01",
 *       "peers": [{ "name": "b", "subnets": ["10.1.2.0/24"], "addresses": ["192.0.2.2"],
 *                   "vtepMacs": { "4": "0a:…:02" } }] }
 */

import { CniError, ErrorCode } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import type { Family } from "../ip/address.ts";
import { networkOf, type Prefix, parsePrefix } from "../ip/prefix.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { RT_SCOPE } from "../netlink/route.ts";
import type { Backend } from "./contract.ts";
import { type Contributions, contributionsOf } from "./contributions.ts";
import type { NetConf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import { decodePeerOf } from "./node-table.ts";

/** The operator wrote the list, so subnets are not limited to a network. */
const EVERYTHING = ["0.0.0.0/0", "::/0"].map(parsePrefix);

/** Throws `CniError` 7 for an invalid configuration. */
export function inlineContributions(request: CniRequest, backend: Backend, observed: KernelSnapshot): Contributions {
  const { config } = request;
  const node = localNode(request, observed);
  const stated = backend.inline?.(config, node);
  if (stated === undefined) throw config.invalid("peers", "no such key: peers of this backend come from weftd");
  const conf: NetConf = { networks: EVERYTHING, backend: stated.conf, others: new Map() };
  const peers = config
    .objectList("peers")
    .map((peer): Peer => ({ ...decodePeerOf(peer, backend.name), ...stated.peers }));
  const contributions = contributionsOf(conf, node, peers, new Map([[backend.name, stated.known]]));
  if (contributions.problems.length > 0) {
    const reasons = contributions.problems.map(({ peer, reason }) => `${peer}: ${reason}`).join("; ");
    throw new CniError(ErrorCode.invalidConfig, `peers: ${reasons}`);
  }
  return contributions;
}

/** This node's subnets are those of the pod that is attached. */
function localNode(request: CniRequest, observed: KernelSnapshot): LocalNode {
  const name = request.config.requiredString("device");
  const link = observed.links.find((candidate) => candidate.name === name);
  if (link === undefined) throw request.config.invalid("device", "the name of the interface that reaches the peers");
  const { ips } = request.requirePrevResult();
  if (ips.length === 0) throw request.config.invalid("prevResult.ips", "at least one address", ips);
  const networks: Prefix[] = observed.addresses
    .filter(({ index, scope }) => index === link.index && scope === RT_SCOPE.universe)
    .map(({ prefix }) => prefix);
  const local = (family: Family) => networks.find(({ address }) => address.family === family)?.address;
  const [local4, local6] = [local(4), local(6)];
  return {
    name,
    subnets: ips.map(({ address }) => networkOf(address)),
    underlay: {
      index: link.index,
      mtu: link.mtu,
      local: { ...(local4 === undefined ? {} : { 4: local4 }), ...(local6 === undefined ? {} : { 6: local6 }) },
      networks,
    },
  };
}
