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
  /** True if the kernel has tracked the connection from its middle on. */
  readonly isPickedUp?: boolean;
}

/** Returns the IPCTNL_MSG_CT_NEW of a flow. Ports of protocols without ports are omitted. */
export function flowMessage(flow: MadeFlow): Message {
  const { from, to, original = to, protocol = 6, fromPort = 40_000, port = 80, status, id } = flow;
  const { startedMs, isPickedUp = false } = flow;
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
      unknown: [
        ...(startedMs === undefined ? [] : [{ type: 20, bytes: timestamp(startedMs) }]),
        ...(isPickedUp ? [{ type: 4, bytes: IN_THE_MIDDLE }] : []),
      ],
    },
  );
  return { type, flags: 0, sequence: 0, portId: 0, payload: body };
}

/** CTA_PROTOINFO: CTA_PROTOINFO_TCP with CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, as the kernel sets it for such connections. */
const IN_THE_MIDDLE = Uint8Array.of(...[12, 0, 1, 0x80], ...[6, 0, 4, 0], ...[0x0a, 0, 0, 0]);

/** CTA_TIMESTAMP: a nest of CTA_TIMESTAMP_START, in nanoseconds in network byte order. */
function timestamp(startedMs: number): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 12, true);
  view.setUint16(2, 1, true);
  view.setBigUint64(4, BigInt(Math.round(startedMs)) * 1_000_000n);
  return bytes;
}
