import { type MessageType, type Request, request } from "../../pkg/netlink/message.ts";

/** A change by another program. Its object does not matter. */
export function change<H, A>(
  message: MessageType<H, A>,
  text: string,
  header: Partial<H>,
  attributes: A,
  flags = 0,
): Request {
  return request(message, { kind: "table", key: text }, text, header, attributes, flags);
}
