import { ByteWriter } from "../../pkg/netlink/bytes.ts";
import { type Encodable, writeRequest } from "../../pkg/netlink/message.ts";
import { SystemError } from "../../pkg/sys/errors.ts";
import type { EventNetlinkSocket } from "../../pkg/sys/event-netlink.ts";

/** struct nlmsghdr: length, type and flags, sequence, port. */
const PORT_OFFSET = 12;

/** A netlink socket whose incoming datagrams a test supplies. Sending through it throws. */
export class FakeEventSocket implements EventNetlinkSocket {
  readonly port = 1;
  readonly groups: number[] = [];
  #onDatagram: (datagram: Uint8Array) => void = () => undefined;
  #onError: (error: SystemError) => void = () => undefined;

  send(): void {
    throw new Error("a FakeEventSocket cannot send");
  }
  onDatagram(listener: (datagram: Uint8Array) => void): void {
    this.#onDatagram = listener;
  }
  onError(listener: (error: SystemError) => void): void {
    this.#onError = listener;
  }
  addMembership(group: number): void {
    this.groups.push(group);
  }
  setReceiveBufferBytes(): void {}
  ignore(): void {}
  close(): void {}

  /** Delivers one datagram. A notification has the layout of the request for the same change. */
  deliver(...requests: Encodable[]): void {
    this.deliverFrom(0, ...requests);
  }
  /** Delivers the same as a notification about a change made through the socket of `portId`. */
  deliverFrom(portId: number, ...requests: Encodable[]): void {
    const writer = new ByteWriter();
    for (const one of requests) {
      const start = writer.length;
      writeRequest(writer, one, 0, 0);
      writer.patchU32(start + PORT_OFFSET, portId);
    }
    this.#onDatagram(writer.finish());
  }
  deliverBytes(bytes: Uint8Array): void {
    this.#onDatagram(bytes);
  }
  fail(errno: number): void {
    this.#onError(new SystemError("recvmsg", "netlink", errno));
  }
}
