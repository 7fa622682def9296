/**
 * The path of a packet through a device whose neighbour entries map to the peers' hardware addresses, and whose
 * forwarding entries map these to nodes, for `weft explain`.
 */
import { type Address, type Family, formatAddress, isSameAddress } from "../../ip/address.ts";
import type { Hop, Passage, PassageAnswer } from "../inspection.ts";

export interface Wrapping {
  /** The outgoing packet: "a VXLAN packet (VNI 1, UDP port 8472)". */
  readonly packet: string;
  /** The encapsulation: "VXLAN". */
  readonly within: string;
  /** The size of the added headers in bytes, counted in the underlay's MTU. */
  readonly overhead: Readonly<Record<Family, number>>;
}

export function passThrough(passage: Passage, wrapping: Wrapping): PassageAnswer {
  const { device, to, observed, peer } = passage;
  const text = formatAddress(to);
  const wanted = (kind: "neighbour" | "fdb") => peer?.entries.find((entry) => entry.kind === kind);
  const mending = (kind: "neighbour" | "fdb", command: string) =>
    wanted(kind) === undefined ? undefined : `${command} replace ${wanted(kind)?.text}`;
  const hops: Hop[] = [];
  const over = (hop: Hop): PassageAnswer => ({ hops: [...hops, hop], isOver: true });

  const neighbour = observed.neighbours.find(
    ({ index, address }) => index === device.index && isSameAddress(address, to),
  );
  const atNeighbour = { at: "neighbour", show: `ip neigh show ${text} dev ${device.name}` };
  const mendNeighbour = mending("neighbour", "ip neigh");
  if (neighbour === undefined)
    return over({
      ...atNeighbour,
      state: "ends",
      text: `the kernel drops the packet: there is no neighbour entry for ${text} on ${device.name}`,
      remedy: mendNeighbour,
    });
  if (wanted("neighbour")?.presence === "other")
    return over({
      ...atNeighbour,
      state: "astray",
      text: `${text} has the hardware address ${neighbour.mac} on ${device.name}, which is not the peer's`,
      remedy: mendNeighbour,
    });
  hops.push({
    ...atNeighbour,
    state: "goes",
    text: `${text} on ${device.name} has the hardware address ${neighbour.mac}`,
  });

  const forwarding = observed.forwarding.find(({ index, mac }) => index === device.index && mac === neighbour.mac);
  const atForwarding = { at: "fdb", show: `bridge fdb show dev ${device.name}` };
  const mendForwarding = mending("fdb", "bridge fdb");
  if (forwarding === undefined)
    return over({
      ...atForwarding,
      state: "ends",
      text: `the kernel drops the packet: there is no forwarding entry for ${neighbour.mac} on ${device.name}`,
      remedy: mendForwarding,
    });
  const outer = formatAddress(forwarding.destination);
  if (wanted("fdb")?.presence === "other")
    return over({
      ...atForwarding,
      state: "astray",
      text: `${neighbour.mac} leads to ${outer}, which is not ${peer?.name}'s address`,
      remedy: mendForwarding,
    });
  hops.push({ ...atForwarding, state: "goes", text: `${neighbour.mac} is on the node at ${outer}` });
  return goesOut(passage, wrapping, forwarding.destination, hops);
}

/** The path of the encapsulated packet to the destination node. */
function goesOut(
  { device, observed, routeTo }: Passage,
  { packet, within, overhead }: Wrapping,
  destination: Address,
  hops: readonly Hop[],
): PassageAnswer {
  const outer = formatAddress(destination);
  const underlay = routeTo(destination);
  const atUnderlay = { at: "underlay", show: `ip route get ${outer}` };
  if (typeof underlay === "string")
    return {
      hops: [...hops, { ...atUnderlay, state: "ends", text: `no route to ${outer}: ${underlay}` }],
      isOver: true,
    };
  const link = observed.links.find(({ index }) => index === underlay.outputIndex);
  const via = underlay.gateway === undefined ? "" : ` via ${formatAddress(underlay.gateway)}`;
  const out: Hop = {
    ...atUnderlay,
    state: "goes",
    text: `in ${packet} to ${outer}${via}, out by ${link?.name ?? "?"}`,
  };
  const room = (link?.mtu ?? 0) - overhead[destination.family];
  if (link === undefined || device.mtu <= room) return { hops: [...hops, out], isOver: false };
  const tooLarge: Hop = {
    at: "underlay",
    state: "astray",
    text:
      `${device.name} accepts ${device.mtu} bytes, but ${link.name} leaves ${room} within ${within}: ` +
      "larger packets are lost",
    show: `ip link show ${link.name}`,
    remedy: `ip link set ${device.name} mtu ${room}`,
  };
  return { hops: [...hops, out, tooLarge], isOver: false };
}
