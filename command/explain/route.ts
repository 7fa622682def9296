/** Finds the route of a packet, and checks that it is the one weftd programmed. */
import { type Address, formatAddress } from "../../pkg/ip/address.ts";
import { contains, formatPrefix } from "../../pkg/ip/prefix.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { describeRoute, type ObservedRoute } from "../../pkg/kernel/route.ts";
import { RT_TABLE_MAIN, RTN_LOCAL, RTN_UNICAST } from "../../pkg/netlink/route.ts";
import { withNames } from "../node/kernel.ts";
import { isSameGateway } from "../status/peers.ts";
import type { Trace } from "./trace.ts";
import { BLOCKING, noRouteText } from "./words.ts";

/** Returns RTN_LOCAL for the node's own addresses, else RTN_UNICAST. */
export function destinationType(trace: Trace, input: Link): number {
  const { destination, source } = trace.question;
  const answer = trace.knowledge.routeTo(destination, { source, inputIndex: input.index });
  return typeof answer !== "string" && answer.type === RTN_LOCAL ? RTN_LOCAL : RTN_UNICAST;
}

/** Queries the kernel for the route, and for the entry that it matched. */
export function takeRoute(trace: Trace, input: Link | undefined): readonly [route: ObservedRoute, type: number] {
  const { destination, source } = trace.question;
  const { routeTo, observed } = trace.knowledge;
  const asked = input === undefined ? {} : { source, inputIndex: input.index };
  const show = `ip route get ${formatAddress(destination)}${input === undefined ? "" : ` from ${formatAddress(source as Address)} iif ${input.name}`}`;
  const entry = routeTo(destination, { ...asked, isEntry: true });
  const answer = routeTo(destination, asked);
  if (typeof answer === "string") {
    // The kernel's answer has no entry for a route that drops or rejects the packet.
    const blocking = blockingRoute(trace);
    if (blocking !== undefined) {
      const { name, deed } = BLOCKING.get(blocking.type) ?? { name: "", deed: "" };
      const route = `${name} ${formatPrefix(blocking.destination)}`;
      const remedy = `ip route del ${route}`;
      trace.end({ at: "route", text: `the packet ends here: the route "${route}" ${deed}`, show, remedy });
    }
    trace.end({
      at: "route",
      text: noRouteText(answer, input),
      show,
      remedy: missingRoute(trace) ?? (input === undefined ? undefined : "weft doctor"),
    });
  }
  if (answer.type === RTN_LOCAL) return [answer, RTN_LOCAL];
  const text = typeof entry === "string" ? describeRoute(answer) : describeRoute(entry);
  trace.say({ at: "route", state: "goes", text: `by the route "${withNames(text, observed)}"`, show });
  const output = trace.linkOf(answer.outputIndex);
  if (output === undefined || !output.isUp)
    trace.end({
      at: "route",
      text: `it uses ${output?.name ?? "a device"}, which ${output === undefined ? "does not exist" : "is down"}`,
      show: `ip link show ${output?.name ?? ""}`,
      remedy: output === undefined ? undefined : `ip link set ${output.name} up`,
    });
  assertLeadsToPeer(trace, answer, show, text);
  return [answer, RTN_UNICAST];
}

/** Returns the most specific route of the main table if it drops or rejects packets. */
function blockingRoute(trace: Trace): ObservedRoute | undefined {
  const { destination } = trace.question;
  const matching = trace.knowledge.observed.routes
    .filter((route) => route.table === RT_TABLE_MAIN && contains(route.destination, destination))
    .sort((a, b) => b.destination.length - a.destination.length || (a.priority ?? 0) - (b.priority ?? 0));
  return matching[0] !== undefined && BLOCKING.has(matching[0].type) ? matching[0] : undefined;
}

function missingRoute(trace: Trace): string | undefined {
  const peer = trace.peerOf(trace.question.destination);
  const state = peer === undefined ? undefined : trace.entriesOf(peer);
  const route = state?.entries.find(
    ({ kind, presence, text }) => kind === "route" && presence !== "there" && text !== "",
  );
  return route === undefined ? undefined : `ip route replace ${route.text}`;
}

/** A packet to a peer's pod that does not take weftd's route goes astray. */
function assertLeadsToPeer(trace: Trace, route: ObservedRoute, show: string, text: string): void {
  const { destination } = trace.question;
  const { desired, observed } = trace.knowledge;
  const peer = trace.peerOf(destination);
  if (peer === undefined || desired === undefined) return;
  const wanted = desired.dataPath.routes.find((one) => contains(one.destination, destination));
  if (wanted === undefined) {
    const reason = trace.entriesOf(peer)?.problems.join("; ") || "weftd has no route to it";
    trace.end({ at: "route", text: `this route does not lead to ${peer.name}: ${reason}`, show }, "astray");
  }
  const index =
    "device" in wanted.by
      ? observed.links.find(({ name }) => "device" in wanted.by && name === wanted.by.device)?.index
      : wanted.by.index;
  if (route.outputIndex === index && isSameGateway(route.gateway, wanted.gateway)) return;
  trace.end(
    {
      at: "route",
      text: `this route does not lead to ${peer.name}: weftd's route is missing, or another route takes precedence`,
      show,
      remedy: missingRoute(trace) ?? withNames(`ip route del ${text}`, observed),
    },
    "astray",
  );
}
