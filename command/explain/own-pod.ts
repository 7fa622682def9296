/** The last step of a packet to a pod of this node. */
import { formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { addRoute } from "../../pkg/kernel/route.ts";
import { hostRoute } from "../../pkg/reconcile/routed-pods.ts";
import { withNames } from "../node/kernel.ts";
import type { Trace } from "./trace.ts";
import { podText } from "./words.ts";

/** Follows the packet to a pod of this node. */
export function reachOwnPod(trace: Trace, output: Link | undefined): void {
  const { destination } = trace.question;
  const { reservationOf, observed, attachment, ends } = trace.knowledge;
  const text = formatAddress(destination);
  const owner = reservationOf(destination);
  if (owner === undefined)
    trace.end({ at: "pod", text: `${text} is not reserved, so no pod has it`, show: "weft ipam ls" });
  const link = trace.podLink(owner);
  const who = podText(text, owner);
  if (link === undefined)
    trace.end({
      at: "pod",
      text: `${who} has no link on this node; its reservation is stale`,
      show: "weft ipam ls",
      remedy: "weft ipam gc",
    });
  if (!link.isUp)
    trace.end({
      at: "pod",
      text: `${who} is attached to ${link.name}, which is down`,
      show: `ip link show ${link.name}`,
      remedy: `ip link set ${link.name} up`,
    });
  const isPort = output !== undefined && link.masterIndex === output.index;
  if (!isPort && output?.index !== link.index)
    trace.end(
      ends.ports.has(link.alias)
        ? {
            at: "pod",
            text: `${who} is attached to ${link.name}, which is not a port of ${output?.name}`,
            show: `ip link show ${link.name}`,
            remedy: `ip link set ${link.name} master ${attachment.bridge} up`,
          }
        : {
            at: "pod",
            text: `${who} has its own link ${link.name}, but the route uses ${output?.name}`,
            show: `ip route show dev ${link.name}`,
            remedy: withNames(addRoute(hostRoute(destination, link.index)).text, observed),
          },
    );
  const neighbour = observed.neighbours.find(
    ({ index, address }) => index === output?.index && isSameAddress(address, destination),
  );
  const mac =
    neighbour === undefined
      ? "the kernel resolves its hardware address first"
      : `its hardware address is ${neighbour.mac}`;
  trace.say({
    at: "neighbour",
    state: "goes",
    text: `${text} on ${output?.name}: ${mac}`,
    show: `ip neigh show ${text} dev ${output?.name}`,
  });
  trace.say({
    at: "pod",
    state: "arrives",
    text: `${who} receives it on ${link.name}${owner.namespace === undefined ? "" : ` (in ${owner.namespace})`}`,
    show: link.masterIndex === 0 ? `ip link show ${link.name}` : `bridge link show dev ${link.name}`,
  });
}
