/**
 * `peers` in a plugin's own configuration, for hosts without weftd: the same data path, from a list that somebody wrote.
 *
 *     { "type": "host-gw", "device": "eth0",
 *       "peers": [{ "name": "b", "subnets": ["10.1.2.0/24"], "addresses": ["192.0.2.2"] }] }
 *     { "type": "vxlan", "device": "eth0", "vni": 1, "port": 8472, "mac": "0a:00:00:00:00:01",
 *       "peers": [{ "name": "b", "subnets": ["10.1.2.0/24"], "addresses": ["192.0.2.2"], "vtepMacs": { "4": "0a:…:02" } }] }
 */
import { CniError, ErrorCode } from "../cni/errors.ts";
import type { Request } from "../cni/plugin.ts";
import type { Family } from "../ip/address.ts";
import { networkOf, type Prefix, parsePrefix } from "../ip/prefix.ts";
import type { Observed } from "../kernel/data-path.ts";
import { RT_SCOPE } from "../netlink/route.ts";
import type { BackendType, Surroundings } from "./chained.ts";
import { type DesiredState, desiredState } from "./desired.ts";
import { DEFAULT_VXLAN_PORT, type NetConf } from "./net-conf.ts";
import type { LocalNode } from "./node.ts";
import { decodePeer } from "./node-table.ts";
import { vtepName } from "./vxlan.ts";

/** The list is the operator's own: no network is drawn around it. */
const EVERYTHING = ["0.0.0.0/0", "::/0"].map(parsePrefix);

/** Throws `CniError` 7 for a configuration that is wrong. */
export function inlineDesired(request: Request, backend: BackendType, { macs, observed }: Surroundings): DesiredState {
  const { config } = request;
  const vni = config.optionalInteger("vni", { min: 1, max: 2 ** 24 - 1 }) ?? 1;
  const conf: NetConf = {
    networks: EVERYTHING,
    backend: backend === "host-gw" ? { type: backend } : vxlan(request, vni),
    warnings: [],
  };
  const peers = config.objectList("peers").map((peer) => ({ ...decodePeer(peer), backendType: backend }));
  const state = desiredState(conf, localNode(request, observed), peers, ownMacs(request, vni, macs));
  if (state.problems.length > 0) {
    const told = state.problems.map(({ peer, reason }) => `${peer}: ${reason}`).join("; ");
    throw new CniError(ErrorCode.invalidConfig, `peers: ${told}`);
  }
  return state;
}

function vxlan({ config }: Request, vni: number): NetConf["backend"] {
  const port = config.optionalInteger("port", { min: 1, max: 65_535 }) ?? DEFAULT_VXLAN_PORT;
  return { type: "vxlan", vni, port, underlayMtu: undefined, directRouting: false };
}

/** Peers know this node's VTEP by its hardware address, so it has to be stated. */
function ownMacs({ config }: Request, vni: number, current: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const mac = config.optionalMac("mac");
  if (mac === undefined) return current;
  return new Map([...current, ...([4, 6] as const).map((family) => [vtepName(family, vni), mac] as const)]);
}

/** This node's subnets are those of the pod that is attached. */
function localNode(request: Request, observed: Observed): LocalNode {
  const name = request.config.requiredString("device");
  const link = observed.links.find((candidate) => candidate.name === name);
  if (link === undefined) throw request.config.invalid("device", "the name of the interface that reaches the peers");
  const addresses = observed.addresses.filter(
    ({ index, scope }) => index === link.index && scope === RT_SCOPE.universe,
  );
  const networks: Prefix[] = addresses.map(({ prefix }) => prefix);
  const local = (family: Family) => networks.find(({ address }) => address.family === family)?.address;
  const [local4, local6] = [local(4), local(6)];
  return {
    name,
    subnets: request.requirePrevResult().ips.map(({ address }) => networkOf(address)),
    underlay: {
      index: link.index,
      mtu: link.mtu,
      local: { ...(local4 === undefined ? {} : { 4: local4 }), ...(local6 === undefined ? {} : { 6: local6 }) },
      networks,
    },
  };
}
