/** Makes the kernel's messages about tracked connections, for tests. */
import { type Address, addressToBytes } from "../ip/address.ts";
import { IPCTNL_MSG_CT_NEW } from "../netlink/conntrack.ts";
import { type Message, query } from "../netlink/message.ts";
import { addressFamily } from "./address.ts";

export interface MadeFlow {
  readonly from: Address;
  /** The destination before translation; the one after translation by default. */
  readonly original?: Address;
  /** The destination after translation. */
  readonly to: Address;
  readonly protocol?: number;
  readonly fromPort?: number;
  readonly port?: number;
  /** IPS_* */
  readonly status?: number;
  readonly id?: number;
  /** Milliseconds since 1970. */
  readonly startedMs?: number;
}

/** Returns the IPCTNL_MSG_CT_NEW of a flow. Ports of protocols without ports are omitted. */
export function flowMessage(flow: MadeFlow): Message {
  const { from, to, original = to, protocol = 6, fromPort = 40_000, port = 80, status, id, startedMs } = flow;
  const hasPorts = protocol !== 1 && protocol !== 58;
  const tuple = (source: Address, destination: Address, sourcePort: number, destinationPort: number) => ({
    ip:
      source.family === 4
        ? { source4: addressToBytes(source), destination4: addressToBytes(destination) }
        : { source6: addressToBytes(source), destination6: addressToBytes(destination) },
    protocol: { number: protocol, ...(hasPorts && { sourcePort, destinationPort }) },
  });
  const { type, body } = query(
    IPCTNL_MSG_CT_NEW,
    "",
    { family: addressFamily(from.family) },
    {
      ...{ original: tuple(from, original, fromPort, port), reply: tuple(to, from, port, fromPort), status, id },
      ...(startedMs !== undefined && { unknown: [{ type: 20, bytes: timestamp(startedMs) }] }),
    },
  );
  return { type, flags: 0, sequence: 0, portId: 0, payload: body };
}

/** CTA_TIMESTAMP: a nest of CTA_TIMESTAMP_START, in nanoseconds in network byte order. */
function timestamp(startedMs: number): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 12, true);
  view.setUint16(2, 1, true);
  view.setBigUint64(4, BigInt(Math.round(startedMs)) * 1_000_000n);
  return bytes;
}
