/**
 * Netlink framing: requests, and datagrams taken apart into messages (include/uapi/linux/netlink.h).
 */
import { ByteWriter, viewOf } from "./bytes.ts";
import { type Codec, CodecError, cstring, eachAttribute, type FixedCodec } from "./codec.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
export const NLM_F_ECHO = 0x8;
/** The table changed while it was dumped: the dump may be inconsistent. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;

const NLMSGERR_ATTR_MSG = 1;
const HEADER = 16;

/** A message type: its kernel identifier, its number, the fixed header and the attributes behind it. */
export interface MessageType<H, A> {
  readonly identifier: string;
  readonly type: number;
  readonly header: FixedCodec<H> & Codec<Partial<H>>;
  readonly attributes: Codec<A>;
}

/**
 * What kind of object a change is about. Not all are netlink's: plans also write settings and files, and run processes.
 *
 * - rtnetlink: "link", "address", "route", "neighbour" (proxy entries too), "forwarding" (a bridge's or VXLAN's entry),
 *   "policy" (of `ip rule`), "vlan" (of a bridge port), "qdisc", "filter" (of `tc`)
 * - nftables: "table", "chain", "set", "element", "rule"
 * - "connection": an entry of connection tracking
 * - "attachment": all rules of one pod's interface; "setting": below /proc/sys; "file"; "process": one that weftd supervises
 */
export type ObjectKind =
  | ("link" | "address" | "route" | "neighbour" | "forwarding" | "policy" | "vlan" | "qdisc" | "filter")
  | ("table" | "chain" | "set" | "element" | "rule" | "connection")
  | ("attachment" | "setting" | "file" | "process");

/** Which object a change is about, the same for all changes of one object. What its words say does not matter. */
export interface ObjectIdentity {
  readonly kind: ObjectKind;
  /** The kernel's own key of the object, in one canonical form. Equal for equal objects of one kind in one namespace. */
  readonly key: string;
}

/** Equal for two identities exactly when they are of one object: a key for maps and sets. */
export function identityText({ kind, key }: ObjectIdentity): string {
  return `${kind} ${key}`;
}

/** A message to the kernel, whether it changes something or not. */
export interface Encodable {
  readonly identifier: string;
  readonly type: number;
  /** NLM_F_* beyond NLM_F_REQUEST and NLM_F_ACK, which the driver adds where it needs it. */
  readonly flags: number;
  /** Answered by many messages and NLMSG_DONE; a socket does one at a time. */
  readonly isDump: boolean;
  /** The equivalent `ip`, `bridge` or `nft` command: what error messages and printed plans show. For people only. */
  readonly text: string;
  /** Appends header and attributes, which begin on a boundary of four bytes. Throws `CodecError` where a value does not fit its field. */
  writeBody(to: ByteWriter): void;
  /** The same in bytes of their own, made anew each time. */
  readonly body: Uint8Array;
}

/** A change of one object that the kernel is asked for: one message, with words that an operator understands. */
export interface Request extends Encodable {
  /** What it changes. */
  readonly object: ObjectIdentity;
}

/** A question, which changes nothing: a dump, or one object. */
export interface Query extends Encodable {
  readonly object: undefined;
}

type Content<H, A> = readonly [header: Partial<H>, attributes: A];
type Late<T> = T | (() => T);

/** A class, and nothing made before it is needed: a node among thousands has three of them for each. */
class EncodableMessage<H, A, O extends ObjectIdentity | undefined> implements Encodable {
  readonly identifier: string;
  readonly type: number;
  readonly flags: number;
  readonly isDump: boolean;
  readonly #message: MessageType<H, A>;
  readonly #object: Late<O>;
  readonly #text: Late<string>;
  /**
   * Called when the message is sent. The 15,000 requests for 5,000 peers once held header, attributes and bytes at the same time:
   * creating and collecting these was most of a comparison's time.
   */
  readonly #content: () => Content<H, A>;

  constructor(
    message: MessageType<H, A>,
    object: Late<O>,
    text: Late<string>,
    content: () => Content<H, A>,
    flags: number,
    isDump: boolean,
  ) {
    this.identifier = message.identifier;
    this.type = message.type;
    this.flags = flags;
    this.isDump = isDump;
    this.#message = message;
    this.#object = object;
    this.#text = text;
    this.#content = content;
  }

  get object(): O {
    return typeof this.#object === "function" ? this.#object() : this.#object;
  }

  get text(): string {
    return typeof this.#text === "string" ? this.#text : this.#text();
  }

  get body(): Uint8Array {
    const writer = new ByteWriter();
    this.writeBody(writer);
    return writer.finish();
  }

  writeBody(to: ByteWriter): void {
    const [header, attributes] = this.#content();
    this.#message.header.write(to, header);
    to.align4();
    this.#message.attributes.write(to, attributes);
  }
}

/** A change of `object`; where a key takes work, a function that makes it when it is asked for. */
export function request<H, A>(
  message: MessageType<H, A>,
  object: Late<ObjectIdentity>,
  text: string,
  header: Partial<H>,
  attributes: A,
  flags = 0,
): Request {
  return new EncodableMessage(message, object, text, () => [header, attributes], flags, false);
}

/** Of thousands: identity and words are formed when they are read, which is rare, and contents when they are sent. */
export function lateRequest<H, A>(
  message: MessageType<H, A>,
  object: () => ObjectIdentity,
  text: () => string,
  content: () => Content<H, A>,
  flags = 0,
): Request {
  return new EncodableMessage(message, object, text, content, flags, false);
}

/** A question about single objects. Tests also encode with it what the kernel answers. */
export function query<H, A>(
  message: MessageType<H, A>,
  text: string,
  header: Partial<H>,
  attributes: A,
  flags = 0,
): Query {
  return new EncodableMessage(message, undefined, text, () => [header, attributes], flags, false);
}

/** A question for all objects that match (NLM_F_DUMP). */
export function dumpRequest<H, A>(message: MessageType<H, A>, text: string, header: Partial<H>, attributes: A): Query {
  return new EncodableMessage(message, undefined, text, () => [header, attributes], NLM_F_DUMP, true);
}

/** A message as it came, its payload still encoded. Payload bytes are only valid until the next receive. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly portId: number;
  readonly payload: Uint8Array;
}

/** Decodes a message's header and attributes; throws `CodecError` naming the message and the field. */
export function decode<H, A>(
  type: MessageType<H, A>,
  message: Message,
): { readonly header: H; readonly attributes: A } {
  const { size } = type.header;
  try {
    return {
      header: type.header.read(message.payload),
      attributes: type.attributes.read(message.payload.subarray((size + 3) & ~3)),
    };
  } catch (error) {
    if (error instanceof CodecError) throw new CodecError(type.identifier, error.message);
    throw error;
  }
}

/** Takes a datagram apart. Throws `CodecError` when a length points outside. */
export function splitDatagram(datagram: Uint8Array): Message[] {
  const view = viewOf(datagram);
  const messages: Message[] = [];
  let at = 0;
  while (datagram.length - at >= HEADER) {
    const length = view.getUint32(at, true);
    if (length < HEADER || at + length > datagram.length) {
      throw new CodecError("nlmsg_len", `${length} at offset ${at} of ${datagram.length}`);
    }
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      portId: view.getUint32(at + 12, true),
      payload: datagram.subarray(at + HEADER, at + length),
    });
    at += (length + 3) & ~3;
  }
  return messages;
}

/** Appends one request to a datagram. */
export function writeRequest(to: ByteWriter, item: Encodable, sequence: number, extraFlags: number): void {
  const start = to.length;
  to.u32(0);
  to.u16(item.type);
  to.u16(item.flags | NLM_F_REQUEST | extraFlags);
  to.u32(sequence);
  to.u32(0);
  item.writeBody(to);
  to.patchU32(start, to.length - start);
  to.align4();
}

/** What NLMSG_ERROR (or the tail of NLMSG_DONE) says: 0 or a positive errno, and the kernel's extended-ack text. */
export interface Acknowledgement {
  readonly errno: number;
  readonly extendedText: string | undefined;
}

/** Reads NLMSG_ERROR and NLMSG_DONE payloads (struct nlmsgerr, NLMSGERR_ATTR_MSG). */
export function readAcknowledgement(message: Message): Acknowledgement {
  const { payload } = message;
  if (payload.length < 4) return { errno: 0, extendedText: undefined };
  const view = viewOf(payload);
  const errno = -view.getInt32(0, true);
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return { errno, extendedText: undefined };
  // DONE carries the attributes right behind the error; ERROR repeats the request's header (all of it unless capped).
  let at = 4;
  if (message.type === NLMSG_ERROR) {
    if (payload.length < 4 + HEADER) return { errno, extendedText: undefined };
    const repeated = (message.flags & NLM_F_CAPPED) !== 0 ? HEADER : view.getUint32(4, true);
    at += (repeated + 3) & ~3;
  }
  let extendedText: string | undefined;
  if (at <= payload.length) {
    const attributes = payload.subarray(at);
    eachAttribute(attributes, (type, start, end) => {
      if (type === NLMSGERR_ATTR_MSG) extendedText = cstring.read(attributes.subarray(start, end));
    });
  }
  return { errno, extendedText };
}
