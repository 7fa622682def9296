/**
 * VXLAN, wire-compatible with flannel's: a device for each family of pods over the underlay of that family, and for each
 * peer a neighbour (its subnet's first address has its VTEP's MAC), a forwarding entry (that MAC lives on its node) and
 * an onlink route (its subnet is behind that address).
 */
import { type Address, type Family, isSameAddress } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { PeerForwarding, PeerNeighbour, PeerRoute } from "../kernel/data-path.ts";
import { fnv1a64 } from "../kernel/digest.ts";
import type { Link } from "../kernel/link.ts";
import type { Vtep } from "../kernel/vtep.ts";
import { directRoute } from "./host-gw.ts";
import type { VxlanConf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { DesiredState, PeerProblem } from "./state.ts";

/** Outer Ethernet, IP, UDP and VXLAN headers, less the Ethernet header that the underlay's MTU does not count (RFC 7348). */
export const VXLAN_OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

/** The smallest MTU of a link that carries IPv6 (RFC 8200 section 5): the kernel takes IPv6 from a device with less. */
const SMALLEST_IPV6_MTU = 1280;

/** flannel's names, so that either takes over what the other made. */
export function vtepName(family: Family, vni: number): string {
  return family === 4 ? `flannel.${vni}` : `flannel-v6.${vni}`;
}

export function vxlanState(
  conf: VxlanConf,
  node: LocalNode,
  peers: readonly Peer[],
  knownMacs: ReadonlyMap<string, string>,
): DesiredState {
  const problems: PeerProblem[] = [];
  const vteps = ([4, 6] as const).flatMap((family) => planOwnVtep(conf, node, family, knownMacs, problems));
  const families = new Set(vteps.map(({ local }) => local.family));
  const owners = new Map<string, Owner>();
  for (const { name, mac, local } of vteps) claim(owners, name, mac, { name: "this node", at: local });
  const routes: PeerRoute[] = [];
  const neighbours: PeerNeighbour[] = [];
  const forwarding: PeerForwarding[] = [];
  for (const peer of peers) {
    const tunnelled = peer.subnets.filter((subnet) => {
      const direct = conf.directRouting ? directRoute(node.underlay, peer, subnet) : undefined;
      if (direct === undefined || "trouble" in direct) return families.has(subnet.address.family);
      routes.push(direct);
      return false;
    });
    if (tunnelled.length === 0) continue;
    const refusal = refuse(peer);
    if (refusal !== undefined) {
      problems.push(refusal);
      continue;
    }
    for (const family of new Set(tunnelled.map(({ address }) => address.family))) {
      const vtep = vtepName(family, conf.vni);
      const mac = peer.vtepMacs[family];
      const destination = peer.addresses.find((address) => address.family === family);
      if (mac === undefined || destination === undefined) {
        const missing = mac === undefined ? `VTEP MAC for IPv${family}` : `IPv${family} address`;
        problems.push({ peer: peer.name, trouble: "NotAnnounced", reason: `it has announced no ${missing} yet` });
        continue;
      }
      const owner = claim(owners, vtep, mac, { name: peer.name, at: destination });
      if (!isSameAddress(owner.at, destination)) {
        const reason = `its VTEP's MAC ${mac} is ${owner.name}'s too: ${SAME_MAC_ADVICE}`;
        problems.push({ peer: peer.name, trouble: "SameMac", reason });
        continue;
      }
      // Two Nodes at one address are one machine under its old and its new name.
      if (owner.name === peer.name) forwarding.push({ vtep, mac, destination });
      for (const { address, length } of tunnelled.filter((subnet) => subnet.address.family === family)) {
        neighbours.push({ vtep, address, mac });
        routes.push({ destination: { address, length }, gateway: address, by: { vtep } });
      }
    }
  }
  return {
    dataPath: { vteps, routes, neighbours, forwarding },
    podMtu: Math.min(...vteps.map(({ mtu }) => mtu), node.underlay.mtu),
    // A pod's packet to another node's own address would leave by the underlay, where nobody routes pods' addresses back.
    unmasqueraded: [],
    vtepMacs: Object.fromEntries(vteps.map(({ local, mac }) => [local.family, mac])),
    problems,
  };
}

const SAME_MAC_ADVICE =
  "frames can go to one of them only; machines cloned with one /etc/machine-id can get the same: give one of them a new " +
  "machine-id and delete its VXLAN device";

/** A node, by the address that its VTEP is at. */
interface Owner {
  readonly name: string;
  readonly at: Address;
}

/** Who has a hardware address on a device: whoever claimed it first. */
function claim(owners: Map<string, Owner>, vtep: string, mac: string, claimant: Owner): Owner {
  const key = `${vtep} ${mac}`;
  const owner = owners.get(key) ?? claimant;
  owners.set(key, owner);
  return owner;
}

function refuse({ name, backendType }: Peer): PeerProblem | undefined {
  if (backendType === undefined)
    return { peer: name, trouble: "NotAnnounced", reason: "it has announced no backend yet" };
  if (backendType === "vxlan") return undefined;
  return { peer: name, trouble: "OtherBackend", reason: `its backend is ${backendType}, this node's is vxlan` };
}

/** No device for a family without pods; one over an underlay that cannot carry that family cannot be. */
function planOwnVtep(
  conf: VxlanConf,
  node: LocalNode,
  family: Family,
  knownMacs: ReadonlyMap<string, string>,
  problems: PeerProblem[],
): Vtep[] {
  const subnets = node.subnets.filter(({ address }) => address.family === family);
  if (subnets.length === 0) return [];
  const local = node.underlay.local[family];
  const mtu = Math.min(conf.underlayMtu ?? node.underlay.mtu, node.underlay.mtu) - VXLAN_OVERHEAD[family];
  const cannot = (reason: string) => {
    problems.push({
      peer: node.name,
      trouble: "Underlay",
      reason: `${reason}: its IPv${family} pods reach no other node`,
    });
    return [];
  };
  if (local === undefined) return cannot(`this node's underlay has no IPv${family} address`);
  if (family === 6 && mtu < SMALLEST_IPV6_MTU)
    return cannot(`this node's underlay leaves ${mtu} bytes within VXLAN, and IPv6 needs ${SMALLEST_IPV6_MTU}`);
  const name = vtepName(family, conf.vni);
  return [
    {
      name,
      vni: conf.vni,
      port: conf.port,
      local,
      underlayIndex: node.underlay.index,
      mac: knownMacs.get(name) ?? deriveMac(node.name, name),
      mtu,
      addresses: subnets.map(({ address }): Prefix => ({ address, length: family === 4 ? 32 : 128 })),
    },
  ];
}

/**
 * The hardware addresses that peers know this node's VTEPs by. What this node announced last in this boot (`remembered`)
 * beats what a device has now: another program may have changed that, and it is put back. What nobody remembers is taken
 * from the device as it is: flannel made it and announced it.
 */
export function knownVtepMacs(
  links: readonly Link[],
  remembered: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const held = links.filter(({ kind }) => kind === "vxlan").map(({ name, mac }) => [name, mac] as const);
  return new Map([...held, ...remembered]);
}

/**
 * A unicast, locally administered hardware address that follows from the node's name and the device's: the same after a
 * restart, a reboot, and for a Node that was created again, without anything being stored. Of 5,000 nodes two get the
 * same one once in some 5 million clusters (46 bits).
 */
export function deriveMac(nodeName: string, deviceName: string): string {
  const digest = fnv1a64(`weft/vtep/${deviceName}/${nodeName}`);
  const octets = [...Array(6).keys()].map((at) => Number((digest >> BigInt(8 * at)) & 0xffn));
  octets[0] = ((octets[0] as number) & 0xfc) | 0x02;
  return octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}
