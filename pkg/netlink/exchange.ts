/**
 * The protocol of an exchange with the kernel, without a socket: the bytes to send, the request of each answer, and the
 * end of the exchange. The blocking and the event-driven driver both use it.
 */
import { ByteWriter } from "./bytes.ts";
import { NetlinkError } from "./errors.ts";
import {
  type Acknowledgement,
  type Message,
  NLM_F_ACK,
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  type Query,
  type Request,
  readAcknowledgement,
  type Selection,
  splitDatagram,
  writeRequest,
} from "./message.ts";

/** The answer to one request. */
export interface Reply {
  readonly request: Request | Query;
  /** Data messages; their payloads remain valid. */
  readonly messages: readonly Message[];
  /** Set if the kernel refused the request. Made when it is read: an expected refusal is recognised by `errno`. */
  readonly error: NetlinkError | undefined;
  /** The number of the refusal; 0 if the kernel carried the request out. */
  readonly errno: number;
  /** A change interrupted the dump (NLM_F_DUMP_INTR); the caller must repeat it. */
  readonly interrupted: boolean;
}

class Pending implements Reply {
  readonly request: Request | Query;
  readonly messages: Message[] = [];
  readonly #where: string;
  #extendedText: string | undefined;
  #error: NetlinkError | undefined;
  errno = 0;
  interrupted = false;
  finished = false;

  constructor(request: Request | Query, where: string) {
    this.request = request;
    this.#where = where;
  }

  get error(): NetlinkError | undefined {
    if (this.errno > 0) this.#error ??= new NetlinkError(this.request, this.errno, this.#extendedText, this.#where);
    return this.#error;
  }

  finish({ errno, extendedText }: Acknowledgement): void {
    this.errno = Math.max(errno, 0);
    this.#extendedText = extendedText;
    this.finished = true;
  }
}

/**
 * A datagram to send, and the state of its answers. A driver sends the datagram and passes received datagrams to
 * `accept` until `isFinished` is true.
 */
export interface Conversation {
  readonly datagram: Uint8Array;
  readonly isFinished: boolean;
  accept(datagram: Uint8Array): void;
}

export interface ExchangeOptions {
  /** The buffers passed to `accept` are never reused, so payloads need no copies. [false] */
  readonly keepsBytes?: boolean;
  /** Other data messages are dropped on arrival; the payload passed to it is valid only during the call. [all] */
  readonly isWanted?: ((message: Message) => boolean) | undefined;
}

/**
 * One datagram of requests. rtnetlink processes the messages independently and in order, and continues after a refusal.
 * The kernel always reports refusals. Only the last request asks for an acknowledgement, which shows that the kernel
 * has processed the others.
 */
export class Exchange implements Conversation {
  readonly datagram: Uint8Array;
  readonly #first: number;
  readonly #keepsBytes: boolean;
  readonly #isWanted: ((message: Message) => boolean) | undefined;
  readonly #pending: Pending[] = [];
  readonly #selects: Selection | undefined;

  constructor(
    requests: readonly (Request | Query)[],
    firstSequence: number,
    where: string,
    { keepsBytes = false, isWanted }: ExchangeOptions = {},
  ) {
    this.#isWanted = isWanted;
    this.#keepsBytes = keepsBytes;
    this.#first = firstSequence;
    const [only] = requests;
    this.#selects = requests.length === 1 && only?.object === undefined ? only?.selects : undefined;
    const count = requests.length;
    const writer = new ByteWriter(count * 128);
    for (let at = 0; at < count; at++) {
      const item = requests[at] as Request | Query;
      this.#pending.push(new Pending(item, where));
      const isAcknowledged = at === count - 1 && !item.isDump;
      writeRequest(writer, item, firstSequence + at, isAcknowledged ? NLM_F_ACK : 0);
    }
    this.datagram = writer.finish();
  }

  get isFinished(): boolean {
    return this.#pending[this.#pending.length - 1]?.finished ?? true;
  }

  /** Processes the messages of a datagram; ignores those of other conversations. */
  accept(datagram: Uint8Array): void {
    for (const message of splitDatagram(datagram, this.#selects)) this.#take(message);
  }

  replies(): Reply[] {
    return this.#pending;
  }

  #take(message: Message): void {
    const pending = this.#pending[message.sequence - this.#first];
    if (pending === undefined || pending.finished) return;
    if ((message.flags & NLM_F_DUMP_INTR) !== 0) pending.interrupted = true;
    if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) pending.finish(readAcknowledgement(message));
    else if (this.#isWanted === undefined || this.#isWanted(message))
      pending.messages.push(this.#keepsBytes ? message : { ...message, payload: message.payload.slice() });
  }
}
