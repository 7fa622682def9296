/**
 * The protocol of an exchange with the kernel, without a socket: the bytes to send, the request of each answer, and the
 * end of the exchange. The blocking and the event-driven driver both use it.
 */
import { ByteWriter } from "./bytes.ts";
import { NetlinkError } from "./errors.ts";
import {
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
  /** Set if the kernel refused the request. */
  readonly error: NetlinkError | undefined;
  /** A change interrupted the dump (NLM_F_DUMP_INTR); the caller must repeat it. */
  readonly interrupted: boolean;
}

interface Pending {
  readonly request: Request | Query;
  readonly messages: Message[];
  error: NetlinkError | undefined;
  interrupted: boolean;
  finished: boolean;
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

/**
 * One datagram of requests. rtnetlink processes the messages independently and in order, and continues after a refusal.
 * The kernel always reports refusals. Only the last request asks for an acknowledgement, which shows that the kernel
 * has processed the others.
 */
export class Exchange implements Conversation {
  readonly datagram: Uint8Array;
  readonly #where: string;
  readonly #first: number;
  readonly #keepsBytes: boolean;
  readonly #isWanted: (message: Message) => boolean;
  readonly #pending: Pending[];
  readonly #selects: Selection | undefined;

  /**
   * `keepsBytes`: the buffers passed to `accept` are never reused, so payloads need no copies. `isWanted`: other data
   * messages are dropped on arrival; the payload passed to it is valid only during the call.
   */
  constructor(
    requests: readonly (Request | Query)[],
    firstSequence: number,
    where: string,
    {
      keepsBytes = false,
      isWanted = () => true,
    }: { readonly keepsBytes?: boolean; readonly isWanted?: (message: Message) => boolean } = {},
  ) {
    this.#isWanted = isWanted;
    this.#where = where;
    this.#keepsBytes = keepsBytes;
    this.#first = firstSequence;
    const [only] = requests;
    this.#selects = requests.length === 1 && only?.object === undefined ? only?.selects : undefined;
    this.#pending = requests.map((item) => ({
      request: item,
      messages: [],
      error: undefined,
      interrupted: false,
      finished: false,
    }));
    const writer = new ByteWriter(requests.length * 128);
    requests.forEach((item, index) => {
      const isLast = index === requests.length - 1;
      writeRequest(writer, item, firstSequence + index, isLast && !item.isDump ? NLM_F_ACK : 0);
    });
    this.datagram = writer.finish();
  }

  get isFinished(): boolean {
    return this.#pending.at(-1)?.finished ?? true;
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
    if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
      const { errno, extendedText } = readAcknowledgement(message);
      if (errno > 0) pending.error = new NetlinkError(pending.request, errno, extendedText, this.#where);
      pending.finished = true;
    } else if (this.#isWanted(message)) {
      pending.messages.push(this.#keepsBytes ? message : { ...message, payload: message.payload.slice() });
    }
  }
}
