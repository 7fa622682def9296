/** Generic netlink: a family is known by name, and the kernel assigns its number at boot (linux/genetlink.h). */
import { attribute, attributes, cstring, struct, u8, u16, type ValueOf } from "./codec.ts";
import { decode, type Message, type MessageType, type Query, query } from "./message.ts";

export const NETLINK_GENERIC = 16;

/** struct genlmsghdr */
export const genlmsghdr = struct({ command: u8, version: u8, reserved: u16 });
export type GenericHeader = ValueOf<typeof genlmsghdr>;

const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;

const family = attributes(
  {
    id: attribute(1, "CTRL_ATTR_FAMILY_ID", u16),
    name: attribute(2, "CTRL_ATTR_FAMILY_NAME", cstring),
  },
  { dropUnknown: true },
);

const CTRL: MessageType<GenericHeader, ValueOf<typeof family>> = {
  identifier: "CTRL_CMD_GETFAMILY",
  type: GENL_ID_CTRL,
  header: genlmsghdr,
  attributes: family,
};

/** Requests a family by name. Fails with ENOENT if the kernel does not have it. */
export function familyQuestion(name: string): Query {
  return query(CTRL, `genl ctrl get name ${name}`, { command: CTRL_CMD_GETFAMILY, version: 1 }, { name });
}

/** Parses the answer to `familyQuestion`: the family's number, which is the type of its messages. */
export function readFamily(messages: readonly Message[]): number | undefined {
  return messages.map((message) => decode(CTRL, message).attributes.id).find((id) => id !== undefined);
}
