/** The packet as the rules of a hook see it. */
import type { Address } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { RTN_LOCAL, RTN_UNICAST } from "../../pkg/netlink/route.ts";
import type { Packet } from "../../pkg/packet-walk/packet.ts";
import type { Trace } from "./trace.ts";

/** `destinationType` is a route type (RTN_*). `preferredSource` is the source that the kernel chose for its own packet. */
export function packetAt(
  trace: Trace,
  input: Link | undefined,
  output: Link | undefined,
  destinationType: number,
  preferredSource?: Address,
): Packet {
  const { destination, source = preferredSource, protocol, port } = trace.question;
  // If the node sends to itself, source and destination are the same address.
  return {
    source: source ?? destination,
    destination,
    protocol,
    destinationPort: port,
    input,
    output,
    destinationType,
    sourceType: input === undefined ? RTN_LOCAL : RTN_UNICAST,
    original: trace.original,
  };
}
