/** Follows a packet from this node, step by step, until it arrives, leaves the node, or ends. Pure. */

import type { Hop } from "../../pkg/backend/inspection.ts";
import { type Address, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import { contains } from "../../pkg/ip/prefix.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import type { ObservedRoute } from "../../pkg/kernel/route.ts";
import { NF_INET_HOOK } from "../../pkg/netlink/nftables.ts";
import { RTN_LOCAL } from "../../pkg/netlink/route.ts";
import type { Knowledge, Question } from "./knowledge.ts";
import { leaveForNode } from "./leaving.ts";
import { reachOwnPod } from "./own-pod.ts";
import { packetAt } from "./packet.ts";
import { compareWithJudgement, judgePolicies, reportDenialElsewhere } from "./policy.ts";
import { destinationType, takeRoute } from "./route.ts";
import { passRules } from "./rules.ts";
import { compareWithModel, sayFrontend } from "./service.ts";
import { comeIn } from "./source.ts";
import { End, Trace } from "./trace.ts";
import { subnetText } from "./words.ts";

/** Returns the path with its hops, and the verdicts of policies if they were asked for. */
export function followWay(question: Question, knowledge: Knowledge): Trace {
  const trace = new Trace(question, knowledge);
  try {
    follow(trace);
  } catch (error) {
    if (!(error instanceof End)) throw error;
  }
  compareWithModel(trace);
  compareWithJudgement(trace);
  return trace;
}

export function explainWay(question: Question, knowledge: Knowledge): Hop[] {
  return followWay(question, knowledge).hops;
}

function follow(trace: Trace): void {
  sayOwner(trace);
  const input = comeIn(trace);
  // A packet that arrives passes the prerouting rules before the route lookup, and they may translate its destination.
  if (input !== undefined)
    passRules(
      trace,
      NF_INET_HOOK.prerouting,
      packetAt(trace, input, undefined, destinationType(trace, input)),
      "prerouting",
    );
  let [route, type] = takeRoute(trace, input);
  const sender = route.preferredSource;
  trace.sender = sender;
  if (input === undefined) {
    passRules(
      trace,
      NF_INET_HOOK.output,
      packetAt(trace, input, trace.linkOf(route.outputIndex), type, sender),
      "output",
    );
    // If the destination was translated, the kernel routes the packet again, with the source that it has.
    if (trace.original !== undefined) [route, type] = takeRoute(trace, input);
  }
  const output = trace.linkOf(route.outputIndex);
  const packet = packetAt(trace, input, output, type, sender);
  const { destination } = trace.question;
  if (type === RTN_LOCAL) {
    if (input !== undefined) judgePolicies(trace);
    passRules(trace, NF_INET_HOOK.input, packet, "input");
    trace.say({
      at: "arrives",
      state: "arrives",
      text: `${formatAddress(destination)} is an address of this node`,
      show: `ip address show to ${formatAddress(destination)}`,
    });
    return;
  }
  if (isUnassigned(trace, destination)) {
    trace.end({
      at: "subnet",
      text: `no node has a subnet that contains ${formatAddress(destination)}, so the packet leaves this node and no pod receives it`,
      show: "weft status",
      remedy: "check that the pod still has this address; if weft status does not list its node, start weftd there",
    });
  }
  if (input !== undefined || !trace.isOwnPod(destination)) judgePolicies(trace);
  if (input !== undefined) passRules(trace, NF_INET_HOOK.forward, packet, "forward");
  passRules(trace, NF_INET_HOOK.postrouting, packet, "postrouting");
  sayMtu(trace, route, output);
  if (trace.isOwnPod(destination)) reachOwnPod(trace, output);
  else {
    reportDenialElsewhere(trace);
    leaveForNode(trace, route, output);
  }
}

/** Reports what the destination is in the cluster. */
function sayOwner(trace: Trace): void {
  const { destination } = trace.question;
  const { table } = trace.knowledge;
  const text = formatAddress(destination);
  if (sayFrontend(trace)) return;
  if (table === undefined) {
    trace.say({
      at: "address",
      state: "note",
      text: `the owner of ${text} is unknown: there is no node table of this boot, so weftd has not run`,
    });
    return;
  }
  const peer = trace.peerOf(destination);
  const node = table.peers.find(({ addresses }) => addresses.some((address) => isSameAddress(address, destination)));
  const subnet = [...table.node.subnets, ...(peer?.subnets ?? [])].find((one) => contains(one, destination));
  if (trace.isOwnPod(destination))
    trace.say({
      at: "address",
      state: "goes",
      text: `${text} is in the pod subnet of this node (${table.node.name}, ${subnetText(subnet)})`,
    });
  else if (peer !== undefined)
    trace.say({
      at: "address",
      state: "goes",
      text: `${text} is in the pod subnet of ${peer.name} (${subnetText(subnet)}), a node at ${peer.addresses.map(formatAddress).join(", ") || "no known address"}`,
    });
  else if (node !== undefined)
    trace.say({ at: "address", state: "goes", text: `${text} is an address of the node ${node.name}` });
  else if (table.conf.networks.some((network) => contains(network, destination)))
    trace.say({
      at: "address",
      state: "note",
      text: `${text} is in the pods' network, but no known node has a subnet that contains it`,
    });
  else
    trace.say({
      at: "address",
      state: "goes",
      text: `${text} is not a pod's address: it is a Service's, or outside the cluster`,
    });
}

/** True if the address is in the pods' network, but in no node's subnet. */
function isUnassigned(trace: Trace, address: Address): boolean {
  const { table } = trace.knowledge;
  if (table === undefined || trace.isOwnPod(address) || trace.peerOf(address) !== undefined) return false;
  const isNode = table.peers.some(({ addresses }) => addresses.some((one) => isSameAddress(one, address)));
  return !isNode && table.conf.networks.some((network) => contains(network, address));
}

function sayMtu(trace: Trace, { mtu }: ObservedRoute, output: Link | undefined): void {
  if (output === undefined) return;
  const bytes = mtu ?? output.mtu;
  trace.say({
    at: "device",
    state: "goes",
    text: `leaves on ${output.name}, which takes packets of up to ${bytes} bytes`,
    show: `ip -d link show ${output.name}`,
  });
}
