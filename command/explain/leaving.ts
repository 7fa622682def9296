/** The end of a packet's way on this node where it leaves for another: through a VXLAN device, or by the link itself. */
import type { Peer } from "../../pkg/backend/node.ts";
import { VXLAN_OVERHEAD } from "../../pkg/backend/overlay.ts";
import { formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import type { ObservedRoute } from "../../pkg/kernel/route.ts";
import type { Trace } from "./trace.ts";

export function leaveByTunnel(trace: Trace, { gateway }: ObservedRoute, vtep: Link): void {
  const { observed, routeTo } = trace.knowledge;
  const peer = trace.peerOf(trace.question.destination);
  const to = gateway ?? trace.question.destination;
  const text = formatAddress(to);
  const entries = peer === undefined ? [] : (trace.entriesOf(peer)?.entries ?? []);
  const wanted = (kind: "neighbour" | "fdb") => entries.find((entry) => entry.kind === kind);
  const neighbour = observed.neighbours.find(
    ({ index, address }) => index === vtep.index && isSameAddress(address, to),
  );
  const showNeighbour = `ip neigh show ${text} dev ${vtep.name}`;
  const mendNeighbour = wanted("neighbour") === undefined ? undefined : `ip neigh replace ${wanted("neighbour")?.text}`;
  if (neighbour === undefined)
    trace.end({
      at: "neighbour",
      text: `here the packet ends: no neighbour entry for ${text} on ${vtep.name}`,
      show: showNeighbour,
      remedy: mendNeighbour,
    });
  if (wanted("neighbour")?.presence === "other")
    trace.end(
      {
        at: "neighbour",
        text: `${text} has the hardware address ${neighbour.mac} here, which is not the peer's`,
        show: showNeighbour,
        remedy: mendNeighbour,
      },
      "astray",
    );
  trace.say({
    at: "neighbour",
    state: "goes",
    text: `${text} on ${vtep.name} has the hardware address ${neighbour.mac}`,
    show: showNeighbour,
  });
  const forwarding = observed.forwarding.find(({ index, mac }) => index === vtep.index && mac === neighbour.mac);
  const showForwarding = `bridge fdb show dev ${vtep.name}`;
  const mendForwarding = wanted("fdb") === undefined ? undefined : `bridge fdb replace ${wanted("fdb")?.text}`;
  if (forwarding === undefined)
    trace.end({
      at: "fdb",
      text: `here the packet ends: no forwarding entry for ${neighbour.mac} on ${vtep.name}`,
      show: showForwarding,
      remedy: mendForwarding,
    });
  const outer = formatAddress(forwarding.destination);
  if (wanted("fdb")?.presence === "other")
    trace.end(
      {
        at: "fdb",
        text: `${neighbour.mac} leads to ${outer}, and ${peer?.name} is elsewhere`,
        show: showForwarding,
        remedy: mendForwarding,
      },
      "astray",
    );
  trace.say({
    at: "fdb",
    state: "goes",
    text: `${neighbour.mac} lives on the node at ${outer}`,
    show: showForwarding,
  });
  const underlay = routeTo(forwarding.destination);
  const show = `ip route get ${outer}`;
  if (typeof underlay === "string") trace.end({ at: "underlay", text: `no way to ${outer}: ${underlay}`, show });
  const link = trace.linkOf(underlay.outputIndex);
  const { vni, port } = vtep.vxlan ?? {};
  trace.say({
    at: "underlay",
    state: "goes",
    text: `in a VXLAN packet (VNI ${vni}, UDP port ${port}) to ${outer}${underlay.gateway === undefined ? "" : ` via ${formatAddress(underlay.gateway)}`}, out by ${link?.name ?? "?"}`,
    show,
  });
  const room = (link?.mtu ?? 0) - VXLAN_OVERHEAD[forwarding.destination.family];
  if (link !== undefined && vtep.mtu > room)
    trace.say({
      at: "underlay",
      state: "astray",
      text: `${vtep.name} takes ${vtep.mtu} bytes, and ${link.name} leaves ${room} within VXLAN: larger packets are lost`,
      show: `ip link show ${link.name}`,
      remedy: `ip link set ${vtep.name} mtu ${room}`,
    });
  leaveNode(trace, peer);
}

export function leaveByLink(trace: Trace, { gateway }: ObservedRoute, output: Link | undefined): void {
  const { observed } = trace.knowledge;
  const to = gateway ?? trace.question.destination;
  const text = formatAddress(to);
  const neighbour = observed.neighbours.find(
    ({ index, address }) => index === output?.index && isSameAddress(address, to),
  );
  trace.say({
    at: "neighbour",
    state: "goes",
    text:
      neighbour === undefined
        ? `the hardware address of ${text} on ${output?.name} is not known yet, and asked for`
        : `${text} on ${output?.name} has the hardware address ${neighbour.mac}`,
    show: `ip neigh show ${text} dev ${output?.name}`,
  });
  leaveNode(trace, trace.peerOf(trace.question.destination));
}

function leaveNode(trace: Trace, peer: Peer | undefined): void {
  const { destination } = trace.question;
  const there =
    peer === undefined
      ? ""
      : `: the rest of its way is ${peer.name}'s; there, weft explain ${formatAddress(destination)}`;
  trace.say({ at: "leaves", state: "arrives", text: `the packet leaves this node${there}` });
}
