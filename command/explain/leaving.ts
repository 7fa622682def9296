/** The last step of a packet that leaves this node for another: through a backend's device, or through a plain link. */
import { BACKENDS, backendNamed } from "../../pkg/backend/backends.ts";
import type { DeviceInspection } from "../../pkg/backend/inspection.ts";
import type { Peer } from "../../pkg/backend/node.ts";
import { formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import type { ObservedRoute } from "../../pkg/kernel/route.ts";
import { End, type Trace } from "./trace.ts";

/** Follows the packet through the backend's device if there is one, else to the neighbour on the link. */
export function leaveForNode(trace: Trace, route: ObservedRoute, output: Link | undefined): void {
  const inspection = output === undefined ? undefined : inspectionOf(trace, output);
  if (output === undefined || inspection === undefined) {
    leaveByLink(trace, route, output);
    return;
  }
  const { observed, routeTo } = trace.knowledge;
  const { destination } = trace.question;
  const peer = trace.peerOf(destination);
  const { hops, isOver } = inspection.pass({
    device: output,
    to: route.gateway ?? destination,
    ...{ observed, routeTo },
    peer: peer && { name: peer.name, entries: trace.entriesOf(peer)?.entries ?? [] },
  });
  for (const hop of hops) trace.say(hop);
  if (isOver) throw new End();
  leaveNode(trace, peer);
}

/** Returns the inspection of the backend that owns the device, or of a backend whose devices work the same way. */
function inspectionOf({ knowledge }: Trace, link: Link): DeviceInspection | undefined {
  const own = knowledge.desired?.dataPath.devices.find(({ name }) => name === link.name);
  const inspections = BACKENDS.flatMap(({ inspection }) => inspection.devices ?? []);
  return backendNamed(own?.backend)?.inspection.devices ?? inspections.find((devices) => devices.leadsBy(link));
}

function leaveByLink(trace: Trace, { gateway }: ObservedRoute, output: Link | undefined): void {
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
        ? `the hardware address of ${text} on ${output?.name} is not known yet; the kernel resolves it first`
        : `${text} on ${output?.name} has the hardware address ${neighbour.mac}`,
    show: `ip neigh show ${text} dev ${output?.name}`,
  });
  leaveNode(trace, trace.peerOf(trace.question.destination));
}

function leaveNode(trace: Trace, peer: Peer | undefined): void {
  const { destination } = trace.question;
  const there =
    peer === undefined ? "" : `; to follow it on ${peer.name}, run weft explain ${formatAddress(destination)} there`;
  trace.say({ at: "leaves", state: "arrives", text: `the packet leaves this node${there}` });
}
