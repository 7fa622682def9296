/** Messages that the kernel sends. */
import type { ByteWriter } from "../../netlink/bytes.ts";
import type { MessageType } from "../../netlink/message.ts";

export interface Told {
  readonly type: number;
  writeBody(to: ByteWriter): void;
}

export function told<H, A>(
  message: Pick<MessageType<H, A>, "type" | "header" | "attributes">,
  header: Partial<H>,
  attributes: A,
): Told {
  return {
    type: message.type,
    writeBody(to) {
      message.header.write(to, header);
      to.align4();
      message.attributes.write(to, attributes);
    },
  };
}

/** Writes struct nlmsghdr and the message. `port` is the port of the socket that sent the query or the change. */
export function writeTold(to: ByteWriter, item: Told, sequence: number, port: number, flags: number): void {
  const start = to.length;
  to.u32(0);
  to.u16(item.type);
  to.u16(flags);
  to.u32(sequence);
  to.u32(port);
  item.writeBody(to);
  to.patchU32(start, to.length - start);
  to.align4();
}
