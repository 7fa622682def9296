/** The first step of a packet: from a pod to the node, over the bridge to another pod, or from another host. */
import { type Address, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { NF_INET_HOOK } from "../../pkg/netlink/nftables.ts";
import { RTN_UNICAST } from "../../pkg/netlink/route.ts";
import { withNames } from "../node/kernel.ts";
import type { Owner } from "./knowledge.ts";
import { reachOwnPod } from "./own-pod.ts";
import { packetAt } from "./packet.ts";
import { judgePolicies } from "./policy.ts";
import { passRules } from "./rules.ts";
import { End, type Trace } from "./trace.ts";
import { podText } from "./words.ts";

/**
 * Returns the link on which IP receives the packet: from a pod, or from another host. Undefined for the node's own
 * packets.
 */
export function comeIn(trace: Trace): Link | undefined {
  const { source } = trace.question;
  if (source === undefined || isOwn(trace, source)) {
    const under = source === undefined ? "" : `, with the source ${formatAddress(source)}`;
    trace.say({ at: "from", state: "goes", text: `this node sends the packet${under}` });
    return undefined;
  }
  const owner = trace.knowledge.reservationOf(source);
  if (owner !== undefined) return leavePod(trace, source, owner);
  if (trace.isOwnPod(source))
    trace.end({ at: "from", text: `no pod of this node has ${formatAddress(source)}`, show: "weft ipam ls" });
  return comeFromOutside(trace, source);
}

/** The packet arrives on the link that replies leave by. */
function comeFromOutside(trace: Trace, source: Address): Link {
  const text = formatAddress(source);
  const show = `ip route get ${text}`;
  const answer = trace.knowledge.routeTo(source);
  const link = typeof answer === "string" ? undefined : trace.linkOf(answer.outputIndex);
  if (link === undefined)
    trace.end({ at: "from", text: `no route leads back to ${text}, so replies cannot be sent`, show });
  const peer = trace.peerOf(source);
  const who = peer === undefined ? "" : `, a pod of ${peer.name},`;
  trace.say({ at: "from", state: "goes", text: `the packet from ${text}${who} arrives on ${link.name}`, show });
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
      text: `${who} has no link on this node; its interface was removed`,
      show: "ip link show type veth",
    });
  const bridge = trace.linkOf(link.masterIndex);
  if (bridge === undefined && ends.ports.has(link.alias))
    trace.end({
      at: "from",
      text: `${who} is attached to ${link.name}, which is not a port of ${attachment.bridge}`,
      show: `ip link show ${link.name}`,
      remedy: `ip link set ${link.name} master ${attachment.bridge} up`,
    });
  for (const one of [link, ...(bridge === undefined ? [] : [bridge])]) {
    if (!one.isUp)
      trace.end({
        at: "from",
        text: `${who} is attached to ${one.name}, which is down`,
        show: `ip link show ${one.name}`,
        remedy: `ip link set ${one.name} up`,
      });
  }
  trace.say({
    at: "from",
    state: "goes",
    text: `${who} sends on ${link.name}${bridge === undefined ? "" : `, a port of ${bridge.name}`}`,
    show: bridge === undefined ? `ip link show ${link.name}` : `bridge link show dev ${link.name}`,
  });
  const { destination } = trace.question;
  const isAsked = trace.isOwnPod(destination) && trace.isOwnPod(source) && !isOwn(trace, destination);
  if (bridge !== undefined && isAsked) resolveOnBridge(trace, bridge);
  return bridge ?? link;
}

/**
 * A pod on the bridge treats the whole subnet as on-link. Ends the trace if the frame goes to another port of the
 * bridge.
 */
function resolveOnBridge(trace: Trace, bridge: Link): void {
  const { destination } = trace.question;
  const { ends, missingAnswer, observed, reservationOf } = trace.knowledge;
  const owner = reservationOf(destination);
  const target = owner === undefined ? undefined : trace.podLink(owner);
  if (target === undefined || !ends.routed.has(target.alias)) {
    trace.say({
      at: "bridge",
      state: "goes",
      text: `both pods are on ${bridge.name}, which forwards frames between its ports without IP routing`,
      show: `bridge fdb show br ${bridge.name}`,
    });
    passBridgedRules(trace, bridge);
    reachOwnPod(trace, bridge);
    throw new End();
  }
  const text = `${formatAddress(destination)} has its own link ${target.name}`;
  const show = `ip ${destination.family === 6 ? "-6 " : ""}neigh show proxy dev ${bridge.name}`;
  const remedy = missingAnswer(bridge, destination);
  if (remedy !== undefined)
    trace.end({
      at: "bridge",
      text: `${text}, but the node does not answer for it on ${bridge.name}`,
      show,
      remedy: withNames(remedy, observed),
    });
  trace.say({
    at: "bridge",
    state: "goes",
    text: `${text}; the node answers for it on ${bridge.name}, and forwards the packet`,
    show,
  });
}

/** With br_netfilter, a frame between two ports passes the rules of IP's forward hook. */
function passBridgedRules(trace: Trace, bridge: Link): void {
  judgePolicies(trace);
  if (!trace.knowledge.filtersBridged(trace.question.destination.family)) return;
  passRules(trace, NF_INET_HOOK.forward, packetAt(trace, bridge, bridge, RTN_UNICAST), "forward");
}

function isOwn(trace: Trace, address: Address): boolean {
  return trace.knowledge.observed.addresses.some(({ prefix }) => isSameAddress(prefix.address, address));
}
