/**
 * Netlink framing: encodes requests, and splits datagrams into messages (include/uapi/linux/netlink.h).
 */
import { ByteWriter, i32At, u16At, u32At } from "./bytes.ts";
import { type Codec, CodecError, cstring, eachAttribute, type FixedCodec } from "./codec.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
export const NLM_F_ECHO = 0x8;
/** The table changed during the dump: the dump may be inconsistent. */
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

/** A message type: its kernel identifier, its number, the fixed header and the attributes after it. */
export interface MessageType<H, A> {
  readonly identifier: string;
  readonly type: number;
  readonly header: FixedCodec<H> & Codec<Partial<H>>;
  readonly attributes: Codec<A>;
}

/**
 * The kind of object that a change affects. Not all are netlink objects: plans also write settings and files, and run
 * processes.
 *
 * - rtnetlink: "link", "address", "route", "neighbour" (including proxy entries), "forwarding" (an entry of a bridge or
 *   VXLAN device), "policy" (of `ip rule`), "vlan" (of a bridge port), "qdisc", "filter" (of `tc`)
 * - nftables: "table", "chain", "set", "element", "rule"
 * - "connection": an entry of connection tracking
 * - "attachment": all rules of one pod's interface
 * - "setting": below /proc/sys
 * - "file"
 * - "process": a process that weftd supervises
 */
export type ObjectKind =
  | ("link" | "address" | "route" | "neighbour" | "forwarding" | "policy" | "vlan" | "qdisc" | "filter")
  | ("table" | "chain" | "set" | "element" | "rule" | "connection")
  | ("attachment" | "setting" | "file" | "process");

/** Identifies the object of a change. It is equal for all changes of one object, whatever their `text`. */
export interface ObjectIdentity {
  readonly kind: ObjectKind;
  /** The kernel's own key of the object in a canonical form. Equal for equal objects of one kind in one namespace. */
  readonly key: string;
}

/** Formats an identity as a key for maps and sets: two texts are equal if and only if they identify the same object. */
export function identityText({ kind, key }: ObjectIdentity): string {
  return `${kind} ${key}`;
}

/** A message to the kernel: a change or a query. */
export interface Encodable {
  readonly identifier: string;
  readonly type: number;
  /** NLM_F_* other than NLM_F_REQUEST and NLM_F_ACK, which the driver adds if necessary. */
  readonly flags: number;
  /** The kernel answers with many messages and NLMSG_DONE. A socket carries one dump at a time. */
  readonly isDump: boolean;
  /**
   * The equivalent `ip`, `bridge` or `nft` command, for error messages and printed plans. For people only; never
   * parsed.
   */
  readonly text: string;
  /**
   * Appends header and attributes; the caller aligns the start to four bytes. Throws `CodecError` if a value does not
   * fit its field.
   */
  writeBody(to: ByteWriter): void;
  /** The header and attributes in a new buffer, encoded at each access. */
  readonly body: Uint8Array;
}

/** A request to the kernel to change one object, with a text for operators. */
export interface Request extends Encodable {
  /** The object that the request changes. */
  readonly object: ObjectIdentity;
}

/** A query, which changes nothing: a dump, or a request for one object. */
export interface Query extends Encodable {
  readonly object: undefined;
  /** Only messages with an attribute are of interest. A driver may return the others, too. [all messages] */
  readonly selects?: Selection;
}

/** Selects messages by their bytes. */
export interface Selection {
  /** The length of the header before the attributes, padded. */
  readonly header: number;
  /** The number of an attribute that the messages have. */
  readonly attribute: number;
}

type Content<H, A> = readonly [header: Partial<H>, attributes: A];
type Late<T> = T | (() => T);

/** A class that computes everything on demand: a node with thousands of peers has three requests for each. */
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
    const content = this.#content();
    this.#message.header.write(to, content[0]);
    to.align4();
    this.#message.attributes.write(to, content[1]);
  }
}

/** Makes a change of `object`. Pass functions for its key and text if they take work: both are rarely read. */
export function request<H, A>(
  message: MessageType<H, A>,
  object: Late<ObjectIdentity>,
  text: Late<string>,
  header: Partial<H>,
  attributes: A,
  flags = 0,
): Request {
  return new EncodableMessage(message, object, text, () => [header, attributes], flags, false);
}

/**
 * Makes a change whose parts are computed on demand, for plans of thousands of requests. Identity and text are computed
 * when they are read, which is rare, and the content when it is sent.
 */
export function lateRequest<H, A>(
  message: MessageType<H, A>,
  object: () => ObjectIdentity,
  text: () => string,
  content: () => Content<H, A>,
  flags = 0,
): Request {
  return new EncodableMessage(message, object, text, content, flags, false);
}

/** Makes a query for single objects. Tests also encode the kernel's answers with it. */
export function query<H, A>(
  message: MessageType<H, A>,
  text: Late<string>,
  header: Partial<H>,
  attributes: A,
  flags = 0,
): Query {
  return new EncodableMessage(message, undefined, text, () => [header, attributes], flags, false);
}

/** Makes a query for all matching objects (NLM_F_DUMP). */
export function dumpRequest<H, A>(message: MessageType<H, A>, text: string, header: Partial<H>, attributes: A): Query {
  return new EncodableMessage(message, undefined, text, () => [header, attributes], NLM_F_DUMP, true);
}

/** A received message; its payload is still encoded and is valid only until the next receive. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly portId: number;
  readonly payload: Uint8Array;
}

/** Decodes a message's header and attributes. Throws `CodecError` with the message and the field. */
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

/**
 * Splits a datagram into messages. Throws `CodecError` if a length exceeds the datagram. `selects` skips data messages
 * without this attribute, which takes a quarter of the time of a message.
 */
export function splitDatagram(datagram: Uint8Array, selects?: Selection): Message[] {
  const size = datagram.length;
  const messages: Message[] = [];
  let at = 0;
  while (size - at >= HEADER) {
    const length = u32At(datagram, at);
    if (length < HEADER || at + length > size) {
      throw new CodecError("nlmsg_len", `invalid length ${length} at offset ${at} of ${size} bytes`);
    }
    const end = at + length;
    const isSkipped = selects !== undefined && isSkippable(datagram, at) && !holds(datagram, at + HEADER, end, selects);
    if (isSkipped) {
      at += (length + 3) & ~3;
      continue;
    }
    messages.push({
      type: u16At(datagram, at + 4),
      flags: u16At(datagram, at + 6),
      sequence: u32At(datagram, at + 8),
      portId: u32At(datagram, at + 12),
      payload: datagram.subarray(at + HEADER, at + length),
    });
    at += (length + 3) & ~3;
  }
  return messages;
}

/** Types below this are control messages (NLMSG_MIN_TYPE). */
const FIRST_DATA_TYPE = 0x10;

/** Only one message shows that a change interrupted the dump. */
function isSkippable(bytes: Uint8Array, at: number): boolean {
  const type = (bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8);
  return type >= FIRST_DATA_TYPE && ((bytes[at + 6] as number) & NLM_F_DUMP_INTR) === 0;
}

function holds(bytes: Uint8Array, from: number, end: number, { header, attribute }: Selection): boolean {
  for (let at = from + header; end - at >= NLA_HEADER; ) {
    if (((bytes[at + 2] as number) | (((bytes[at + 3] as number) & 0x3f) << 8)) === attribute) return true;
    const length = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
    if (length < NLA_HEADER) return false;
    at += (length + 3) & ~3;
  }
  return false;
}

/** The length of struct nlattr. */
const NLA_HEADER = 4;

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

/**
 * The content of NLMSG_ERROR (or of the tail of NLMSG_DONE): 0 or a positive errno, and the kernel's extended-ack text.
 */
export interface Acknowledgement {
  readonly errno: number;
  readonly extendedText: string | undefined;
}

/** Parses the payload of NLMSG_ERROR or NLMSG_DONE (struct nlmsgerr, NLMSGERR_ATTR_MSG). */
export function readAcknowledgement(message: Message): Acknowledgement {
  const { payload } = message;
  if (payload.length < 4) return { errno: 0, extendedText: undefined };
  const errno = -i32At(payload, 0);
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return { errno, extendedText: undefined };
  // In DONE the attributes follow the errno directly; ERROR repeats the request's header before them (the full request
  // unless capped).
  let at = 4;
  if (message.type === NLMSG_ERROR) {
    if (payload.length < 4 + HEADER) return { errno, extendedText: undefined };
    const repeated = (message.flags & NLM_F_CAPPED) !== 0 ? HEADER : u32At(payload, 4);
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
