/**
 * `peers` in a plugin's own configuration, for hosts without weftd: the same data path, from a list that somebody wrote.
 *
 *     { "type": "host-gw", "device": "eth0",
 *       "peers": [{ "name": "b", "subnets": ["10.1.2.0/24"], "addresses": ["192.0.2.2"] }] }
 *     { "type": "vxlan", "device": "eth0", "vni": 1, "port": 8472, "mac": "0a:00:00:00:00:01",
 *       "peers": [{ "name": "b", "subnets": ["10.1.2.0/24"], "addresses": ["192.0.2.2"], "vtepMacs": { "4": "0a:…:02" } }] }
 */

import { CniError, ErrorCode } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import { DEFAULT_VXLAN_PORT } from "../footprint.ts";
import type { Family } from "../ip/address.ts";
import { networkOf, type Prefix, parsePrefix } from "../ip/prefix.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import { RT_SCOPE } from "../netlink/route.ts";
import { desiredState } from "./desired.ts";
import { type BackendType, largestVni, type NetConf } from "./net-conf.ts";
import { DEFAULT_VNI } from "./net-conf-keys.ts";
import type { LocalNode } from "./node.ts";
import { decodePeer } from "./node-table.ts";
import { type KnownVtep, vtepName } from "./overlay.ts";
import type { DesiredState } from "./state.ts";

/** The list is the operator's own: no network is drawn around it. */
const EVERYTHING = ["0.0.0.0/0", "::/0"].map(parsePrefix);

/** Throws `CniError` 7 for a configuration that is wrong. */
export function inlineDesired(request: CniRequest, backend: BackendType, observed: KernelSnapshot): DesiredState {
  const { config } = request;
  const node = localNode(request, observed);
  const isVxlan = backend === "vxlan";
  const vni = isVxlan ? (config.optionalInteger("vni", { min: 1, max: largestVni(node.subnets) }) ?? DEFAULT_VNI) : 0;
  const conf: NetConf = {
    networks: EVERYTHING,
    backend: isVxlan ? vxlan(request, vni) : { type: "host-gw", vni: DEFAULT_VNI, port: DEFAULT_VXLAN_PORT },
    warnings: [],
  };
  const peers = config
    .objectList("peers")
    .map((peer) => ({ ...decodePeer(peer), backendType: backend, vni: undefined, port: undefined }));
  const state = desiredState(conf, node, peers, isVxlan ? ownVteps(request, vni) : []);
  if (state.problems.length > 0) {
    const told = state.problems.map(({ peer, reason }) => `${peer}: ${reason}`).join("; ");
    throw new CniError(ErrorCode.invalidConfig, `peers: ${told}`);
  }
  return state;
}

function vxlan({ config }: CniRequest, vni: number): NetConf["backend"] {
  const port = config.optionalInteger("port", { min: 1, max: 65_535 }) ?? DEFAULT_VXLAN_PORT;
  return { type: "vxlan", vni, port, underlayMtu: undefined, directRouting: false };
}

/** The peers' configuration names this node's VTEP by its hardware address, so it is stated here, too. */
function ownVteps({ config }: CniRequest, vni: number): readonly KnownVtep[] {
  const mac = config.optionalMac("mac");
  if (mac === undefined) throw config.invalid("mac", "the hardware address that peers know this node's VTEP by");
  return ([4, 6] as const).map((family) => ({ name: vtepName(family, vni), mac, device: undefined }));
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
