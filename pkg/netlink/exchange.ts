/**
 * What it means to ask the kernel something, without a socket: which bytes to send, which answers belong to which
 * request, and when all have come. The blocking driver and the event-driven one both turn this crank.
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
  splitDatagram,
  writeRequest,
} from "./message.ts";

/** The answer to one request. */
export interface Reply {
  readonly request: Request | Query;
  /** Data messages; their payloads stay. */
  readonly messages: readonly Message[];
  /** Set when the kernel refused. */
  readonly error: NetlinkError | undefined;
  /** The dump was interrupted by a change (NLM_F_DUMP_INTR) and has to be asked for again. */
  readonly interrupted: boolean;
}

interface Pending {
  readonly request: Request | Query;
  readonly messages: Message[];
  error: NetlinkError | undefined;
  interrupted: boolean;
  finished: boolean;
}

/** A datagram to send and the bookkeeping of its answers; a driver sends, feeds, and stops when it is finished. */
export interface Conversation {
  readonly datagram: Uint8Array;
  readonly isFinished: boolean;
  accept(datagram: Uint8Array): void;
}

/**
 * One datagram of requests on its way: rtnetlink judges each message by itself, in their order, and goes on after a
 * refusal. Refusals come unasked for; only the last message asks for an answer in any case, which says that the others
 * were carried out.
 */
export class Exchange implements Conversation {
  readonly datagram: Uint8Array;
  readonly #where: string;
  readonly #first: number;
  readonly #keepsBytes: boolean;
  readonly #isWanted: (message: Message) => boolean;
  readonly #pending: Pending[];

  /**
   * `keepsBytes`: what `accept` is given is never used again by others, so payloads need no copies. `isWanted`: other data
   * messages are dropped as they come; the payload that it is given is valid only during the call.
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

  /** Takes a datagram's messages; those of other conversations are passed over. */
  accept(datagram: Uint8Array): void {
    for (const message of splitDatagram(datagram)) this.#take(message);
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
