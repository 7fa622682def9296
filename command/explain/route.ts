/** Which route a packet takes, and whether that leads where weftd wants it to. */
import { type Address, formatAddress } from "../../pkg/ip/address.ts";
import { contains, formatPrefix } from "../../pkg/ip/prefix.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { describeRoute, type ObservedRoute } from "../../pkg/kernel/route.ts";
import { RT_TABLE_MAIN, RTN_LOCAL, RTN_UNICAST } from "../../pkg/netlink/route.ts";
import { withNames } from "../node/kernel.ts";
import { isSameGateway } from "../status/peers.ts";
import type { Trace } from "./trace.ts";
import { BLOCKING, noRouteText } from "./words.ts";

/** RTN_LOCAL for the node's own addresses. */
export function destinationType(trace: Trace, input: Link): number {
  const { destination, source } = trace.question;
  const answer = trace.knowledge.routeTo(destination, { source, inputIndex: input.index });
  return typeof answer !== "string" && answer.type === RTN_LOCAL ? RTN_LOCAL : RTN_UNICAST;
}

/** What the kernel answers, with the entry that it found. */
export function takeRoute(trace: Trace, input: Link | undefined): readonly [route: ObservedRoute, type: number] {
  const { destination, source } = trace.question;
  const { routeTo, observed } = trace.knowledge;
  const asked = input === undefined ? {} : { source, inputIndex: input.index };
  const show = `ip route get ${formatAddress(destination)}${input === undefined ? "" : ` from ${formatAddress(source as Address)} iif ${input.name}`}`;
  const entry = routeTo(destination, { ...asked, isEntry: true });
  const answer = routeTo(destination, asked);
  if (typeof answer === "string") {
    // What swallows or refuses has no entry in the kernel's answer.
    const blocking = blockingRoute(trace);
    if (blocking !== undefined) {
      const { name, deed } = BLOCKING.get(blocking.type) ?? { name: "", deed: "" };
      const route = `${name} ${formatPrefix(blocking.destination)}`;
      const remedy = `ip route del ${route}`;
      trace.end({ at: "route", text: `here the packet ends: the route "${route}" ${deed}`, show, remedy });
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
      text: `it leads by ${output?.name ?? "a device"}, which is ${output === undefined ? "gone" : "down"}`,
      show: `ip link show ${output?.name ?? ""}`,
      remedy: output === undefined ? undefined : `ip link set ${output.name} up`,
    });
  assertLeadsToPeer(trace, answer, show, text);
  return [answer, RTN_UNICAST];
}

/** The most specific route of the main table, where that is one that leads nowhere. */
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

/** A peer's pod by another way than weftd's is a packet that goes astray. */
function assertLeadsToPeer(trace: Trace, route: ObservedRoute, show: string, text: string): void {
  const { destination } = trace.question;
  const { desired, observed } = trace.knowledge;
  const peer = trace.peerOf(destination);
  if (peer === undefined || desired === undefined) return;
  const wanted = desired.dataPath.routes.find((one) => contains(one.destination, destination));
  if (wanted === undefined) {
    const reason = trace.entriesOf(peer)?.problems.join("; ") || "weftd knows no way to it";
    trace.end({ at: "route", text: `this is no route to ${peer.name}: ${reason}`, show }, "astray");
  }
  const index =
    "device" in wanted.by
      ? observed.links.find(({ name }) => "device" in wanted.by && name === wanted.by.device)?.index
      : wanted.by.index;
  if (route.outputIndex === index && isSameGateway(route.gateway, wanted.gateway)) return;
  trace.end(
    {
      at: "route",
      text: `this does not lead to ${peer.name}: weftd's route is missing, or another one comes before it`,
      show,
      remedy: missingRoute(trace) ?? withNames(`ip route del ${text}`, observed),
    },
    "astray",
  );
}
