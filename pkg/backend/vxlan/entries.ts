/**
 * Entries for peers by VXLAN, wire-compatible with flannel's. Each peer has a neighbour entry (the first address of its
 * subnet has its VTEP's MAC), a forwarding entry (that MAC is on its node), and an onlink route (its subnet is reached
 * by that address).
 */
import { type Address, type Family, isSameAddress } from "../../ip/address.ts";
import type { Prefix } from "../../ip/prefix.ts";
import type { Vtep } from "../../kernel/vtep.ts";
import type { PeerForwarding, PeerNeighbour, PeerRoute } from "../../reconcile/data-path.ts";
import type { PeerEntries, PeerProblem } from "../state.ts";
import { carries, type Overlay, preferred } from "./overlay.ts";
import type { VxlanPeer } from "./peer.ts";

/** The subnets of a peer, and the overlay in which it receives. */
export interface Tunnelled {
  readonly peer: VxlanPeer;
  readonly subnets: readonly Prefix[];
  readonly overlay: Overlay;
}

export interface TunnelEntries {
  readonly entries: readonly PeerEntries[];
  readonly problems: readonly PeerProblem[];
}

/** Returns the entries for `peers` on the devices `vteps`. */
export function tunnelEntries(vteps: readonly Vtep[], peers: readonly Tunnelled[]): TunnelEntries {
  const problems: PeerProblem[] = [];
  const owners = new Map<string, Owner>();
  for (const { name, mac, local } of vteps) claim(owners, name, mac, { name: "this node", at: local });
  const entries = peers.map(({ peer, subnets, overlay }): PeerEntries => {
    const routes: PeerRoute[] = [];
    const neighbours: PeerNeighbour[] = [];
    const forwarding: PeerForwarding[] = [];
    for (const family of new Set(subnets.map(({ address }) => address.family))) {
      const endpoint = endpointOf(vteps, peer, overlay, family);
      if (endpoint === undefined) continue;
      if (typeof endpoint === "string") {
        problems.push({ peer: peer.name, trouble: "NotAnnounced", reason: `it has announced no ${endpoint} yet` });
        continue;
      }
      const { device, mac, destination } = endpoint;
      const owner = claim(owners, device, mac, { name: peer.name, at: destination });
      if (!isSameAddress(owner.at, destination)) {
        const reason = `its VTEP's MAC ${mac} is also ${owner.name}'s: ${SAME_MAC_ADVICE}`;
        problems.push({ peer: peer.name, trouble: "SameMac", reason });
        continue;
      }
      // Two Nodes with one address are one machine under its old and its new name.
      const isEntered = owner.name !== peer.name || forwarding.some((entry) => entry.device === device);
      if (!isEntered) forwarding.push(endpoint);
      for (const { address, length } of subnets.filter((subnet) => subnet.address.family === family)) {
        neighbours.push({ device, address, mac });
        routes.push({ destination: { address, length }, gateway: address, by: { device } });
      }
    }
    return { peer: peer.name, routes, neighbours, forwarding };
  });
  return { entries, problems };
}

/**
 * Returns the endpoint for pods of `family` on `peer`: on the underlay of the same family if both nodes have it, else
 * on the other. Returns the name of missing data as text. Returns undefined if this node has no device for the family,
 * which is reported as this node's own problem.
 */
function endpointOf(
  vteps: readonly Vtep[],
  { vtepMacs, addresses }: VxlanPeer,
  { vni, port }: Overlay,
  family: Family,
): PeerForwarding | string | undefined {
  let missing: string | undefined;
  for (const carrier of preferred(family)) {
    const vtep = vteps.find((own) => own.vni === vni && own.port === port && own.local.family === carrier);
    if (vtep === undefined || !carries(vtep.mtu, family)) continue;
    const mac = vtepMacs[carrier];
    const destination = addresses.find((address) => address.family === carrier);
    if (mac !== undefined && destination !== undefined) return { device: vtep.name, mac, destination };
    missing ??= mac === undefined ? `VTEP MAC for IPv${carrier}` : `IPv${carrier} address`;
  }
  return missing;
}

const SAME_MAC_ADVICE =
  "only one of them can receive frames. Machines cloned with one /etc/machine-id may have the same MAC: give one of them " +
  "a new machine-id and delete its VXLAN device";

/** A node with the address of its VTEP. */
interface Owner {
  readonly name: string;
  readonly at: Address;
}

/** Returns the owner of a hardware address on a device: the first claimant. */
function claim(owners: Map<string, Owner>, vtep: string, mac: string, claimant: Owner): Owner {
  const key = `${vtep} ${mac}`;
  const owner = owners.get(key) ?? claimant;
  owners.set(key, owner);
  return owner;
}
