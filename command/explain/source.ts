/** The first part of a packet's way: from the pod to the node, over the bridge to another pod, or from another host. */
import { type Address, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { withNames } from "../node/kernel.ts";
import type { Owner } from "./knowledge.ts";
import { reachOwnPod } from "./own-pod.ts";
import { End, type Trace } from "./trace.ts";
import { podText } from "./words.ts";

/** The link by which IP sees the packet come in: from a pod, or from another host. Undefined for the node's own packets. */
export function comeIn(trace: Trace): Link | undefined {
  const { source } = trace.question;
  if (source === undefined || isOwn(trace, source)) {
    const under = source === undefined ? "" : `, under ${formatAddress(source)}`;
    trace.say({ at: "from", state: "goes", text: `the packet is this node's own${under}` });
    return undefined;
  }
  const owner = trace.knowledge.reservationOf(source);
  if (owner !== undefined) return leavePod(trace, source, owner);
  if (trace.isOwnPod(source))
    trace.end({ at: "from", text: `no pod of this node has ${formatAddress(source)}`, show: "weft ipam ls" });
  return comeFromOutside(trace, source);
}

/** By the link that answers leave by. */
function comeFromOutside(trace: Trace, source: Address): Link {
  const text = formatAddress(source);
  const show = `ip route get ${text}`;
  const answer = trace.knowledge.routeTo(source);
  const link = typeof answer === "string" ? undefined : trace.linkOf(answer.outputIndex);
  if (link === undefined)
    trace.end({ at: "from", text: `no route leads back to ${text}: its packets are not answered`, show });
  const peer = trace.peerOf(source);
  const who = peer === undefined ? "" : `, a pod of ${peer.name}'s`;
  trace.say({ at: "from", state: "goes", text: `the packet of ${text}${who} comes in by ${link.name}`, show });
  return link;
}

function leavePod(trace: Trace, source: Address, owner: Owner): Link {
  const { attachment, ends } = trace.knowledge;
  const text = formatAddress(source);
  trace.isFromPod = true;
  const link = trace.podLink(owner);
  const who = podText(text, owner);
  if (link === undefined)
    trace.end({
      at: "from",
      text: `${who} has no link on this node: its interface is gone`,
      show: "ip link show type veth",
    });
  const bridge = trace.linkOf(link.masterIndex);
  if (bridge === undefined && ends.ports.has(link.alias))
    trace.end({
      at: "from",
      text: `${who} hangs on ${link.name}, which is no port of ${attachment.bridge}`,
      show: `ip link show ${link.name}`,
      remedy: `ip link set ${link.name} master ${attachment.bridge} up`,
    });
  for (const one of [link, ...(bridge === undefined ? [] : [bridge])]) {
    if (!one.isUp)
      trace.end({
        at: "from",
        text: `${who} hangs on ${one.name}, which is down`,
        show: `ip link show ${one.name}`,
        remedy: `ip link set ${one.name} up`,
      });
  }
  trace.say({
    at: "from",
    state: "goes",
    text: `${who} sends by ${link.name}${bridge === undefined ? "" : `, a port of ${bridge.name}`}`,
    show: bridge === undefined ? `ip link show ${link.name}` : `bridge link show dev ${link.name}`,
  });
  const { destination } = trace.question;
  const isAsked = trace.isOwnPod(destination) && trace.isOwnPod(source) && !isOwn(trace, destination);
  if (bridge !== undefined && isAsked) askBridge(trace, bridge);
  return bridge ?? link;
}

/** A pod on the bridge takes the whole subnet for its own link. Ends the way of a frame to another port. */
function askBridge(trace: Trace, bridge: Link): void {
  const { destination } = trace.question;
  const { ends, missingAnswer, observed, reservationOf } = trace.knowledge;
  const owner = reservationOf(destination);
  const target = owner === undefined ? undefined : trace.podLink(owner);
  if (target === undefined || !ends.routed.has(target.alias)) {
    trace.say({
      at: "bridge",
      state: "goes",
      text: `both are on ${bridge.name}: frames go from port to port, and IP's routes are not asked`,
      show: `bridge fdb show br ${bridge.name}`,
    });
    reachOwnPod(trace, bridge);
    throw new End();
  }
  const text = `${formatAddress(destination)} has a link of its own, ${target.name}`;
  const show = `ip ${destination.family === 6 ? "-6 " : ""}neigh show proxy dev ${bridge.name}`;
  const remedy = missingAnswer(bridge, destination);
  if (remedy !== undefined)
    trace.end({
      at: "bridge",
      text: `${text}, and the node does not answer for it on ${bridge.name}`,
      show,
      remedy: withNames(remedy, observed),
    });
  trace.say({
    at: "bridge",
    state: "goes",
    text: `${text}: the node answers for it on ${bridge.name}, and forwards`,
    show,
  });
}

function isOwn(trace: Trace, address: Address): boolean {
  return trace.knowledge.observed.addresses.some(({ prefix }) => isSameAddress(prefix.address, address));
}
