/** For tests: simulates the kernel's dump of a table. */
import { ByteWriter } from "../netlink/bytes.ts";
import { type Message, splitDatagram, writeRequest } from "../netlink/message.ts";
import { NFT_MSG_NEWRULE } from "../netlink/nftables.ts";
import { replaceTable, type Table } from "./table.ts";

/** Gives the rules of a table with this number of chains and sets the handles that the kernel would report. */
export function withHandles(messages: readonly Message[], objects: number): Message[] {
  let handle = objects;
  return messages.map((message) => {
    if (message.type !== NFT_MSG_NEWRULE.type) return message;
    handle += 1;
    // NFTA_RULE_HANDLE: 12 bytes long, type 3, in network byte order.
    return {
      ...message,
      payload: Uint8Array.of(...message.payload, 12, 0, 3, 0, 0, 0, 0, 0, 0, 0, handle >> 8, handle),
    };
  });
}

/**
 * The dump of a table: the messages that create it, with the use count (the number of chains and sets) and the handles
 * of rules that the kernel would report.
 */
export function dumpOf(table: Table): Message[] {
  const writer = new ByteWriter();
  const made = replaceTable(table).slice(2);
  for (const [index, item] of made.entries()) writeRequest(writer, item, index, 0);
  const [first, ...rest] = splitDatagram(writer.finish());
  if (first === undefined) throw new Error("replaceTable made no requests");
  // NFTA_TABLE_USE: 8 bytes long, type 3, in network byte order.
  const use = [8, 0, 3, 0, 0, 0, 0, table.chains.length + table.sets.length];
  const objects = table.chains.length + table.sets.length;
  return withHandles([{ ...first, payload: Uint8Array.of(...first.payload, ...use) }, ...rest], objects);
}
