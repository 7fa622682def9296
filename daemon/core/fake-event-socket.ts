import { ByteWriter } from "../../pkg/netlink/bytes.ts";
import { type Encodable, writeRequest } from "../../pkg/netlink/message.ts";
import { SystemError } from "../../pkg/sys/errors.ts";
import type { EventNetlinkSocket } from "../../pkg/sys/event-netlink.ts";

/** struct nlmsghdr: length, type and flags, sequence, port. */
const PORT_OFFSET = 12;

/** A netlink socket that a test delivers to: nothing is to be sent through it. */
export class FakeEventSocket implements EventNetlinkSocket {
  readonly port = 1;
  readonly groups: number[] = [];
  #onDatagram: (datagram: Uint8Array) => void = () => undefined;
  #onError: (error: SystemError) => void = () => undefined;

  send(): void {
    throw new Error("nothing is to be sent here");
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

  /** One datagram. A notification has the layout of the request that asks for the change. */
  deliver(...requests: Encodable[]): void {
    this.deliverFrom(0, ...requests);
  }
  /** The same as the kernel tells what the socket of `portId` has changed. */
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
