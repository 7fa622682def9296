import type { EventNetlinkSocket } from "../sys/event-netlink.ts";
import { Batch } from "./batch.ts";
import { type Conversation, Exchange, type Reply } from "./exchange.ts";
import type { Message, Query, Request } from "./message.ts";
import { DUMP_ATTEMPTS, inFlight, interruptedDump } from "./pace.ts";

/** Each datagram comes in bytes of its own (`EventNetlinkSocket`). */
const OWN_BYTES = { keepsBytes: true };

/**
 * The kernel answers within milliseconds, a full dump of a large node within seconds. An answer that was lost would keep all
 * that wait behind it for ever.
 */
const ANSWER_LIMIT_MS = 60_000;

/** What is asked of a clock. */
export interface Timers {
  nowMs(): number;
  /** Calls `callback` once after `delayMs`, unless the returned function was called before. */
  setTimer(delayMs: number, callback: () => void): () => void;
}

/**
 * Asks the kernel on an event loop: the daemon's driver. Calls queue up; one conversation is on its way at a time, since
 * a socket carries one dump at a time. Use another socket for notifications.
 */
export class EventedNetlink {
  readonly #socket: EventNetlinkSocket;
  readonly #timers: Timers;
  readonly where: string;
  #sequence = 1;
  #current: { conversation: Conversation; resolve: () => void; reject: (error: unknown) => void } | undefined;
  #tail: Promise<void> = Promise.resolve();
  /** When the kernel was asked, or last said something. */
  #heardMs = 0;
  #cancelTimer: () => void = () => undefined;

  constructor(socket: EventNetlinkSocket, where: string, timers: Timers) {
    this.#socket = socket;
    this.#timers = timers;
    this.where = where;
    socket.onDatagram((datagram) => this.#accept(datagram));
    socket.onError((error) => this.#fail(error));
  }

  /** Each request's own answer, in their order; refusals are in the replies, not thrown. Dumps go by `dump`. */
  async exchange(requests: readonly (Request | Query)[]): Promise<Reply[]> {
    const replies: Reply[] = [];
    for (const part of inFlight(requests)) {
      const exchange = new Exchange(part, this.#take(part.length), this.where, OWN_BYTES);
      await this.#turn(exchange);
      replies.push(...exchange.replies());
    }
    return replies;
  }

  /** All messages of a consistent dump that `isWanted` names: an interrupted one is asked for again. */
  async dump(request: Query, isWanted?: (message: Message) => boolean): Promise<readonly Message[]> {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const options = { ...OWN_BYTES, ...(isWanted && { isWanted }) };
      const exchange = new Exchange([request], this.#take(1), this.where, options);
      await this.#turn(exchange);
      const reply = exchange.replies()[0];
      if (reply?.error !== undefined) throw reply.error;
      if (reply !== undefined && !reply.interrupted) return reply.messages;
    }
    throw interruptedDump(request, this.where);
  }

  /**
   * All or nothing (nfnetlink); with `generation` nothing (ERESTART) where the ruleset is of another one by now. Returns
   * what the kernel made of the requests that carry NLM_F_ECHO.
   */
  async commit(requests: readonly Request[], generation?: number): Promise<readonly Message[]> {
    if (requests.length === 0) return [];
    const batch = new Batch(requests, this.#sequence, this.where, generation);
    this.#take(batch.sequenceCount);
    await this.#turn(batch);
    if (batch.error !== undefined) throw batch.error;
    return batch.echoes;
  }

  close(): void {
    this.#socket.close();
    this.#fail(new Error(`the netlink socket to ${this.where} was closed`));
  }

  #take(count: number): number {
    const first = this.#sequence;
    this.#sequence += count;
    return first;
  }

  #turn(conversation: Conversation): Promise<void> {
    const turn = this.#tail.then(
      () =>
        new Promise<void>((resolve, reject) => {
          this.#current = { conversation, resolve, reject };
          this.#heardMs = this.#timers.nowMs();
          this.#awaitAnswer();
          this.#socket.send(conversation.datagram);
        }),
    );
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  /** Counts from the last sign of it: a dump may have thousands of messages. What comes later belongs to no conversation. */
  #awaitAnswer(waitMs = ANSWER_LIMIT_MS): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#timers.setTimer(waitMs, () => {
      const leftMs = this.#heardMs + ANSWER_LIMIT_MS - this.#timers.nowMs();
      if (leftMs > 0) this.#awaitAnswer(leftMs);
      else
        this.#fail(new Error(`the kernel has not answered within ${ANSWER_LIMIT_MS / 1000} seconds (${this.where})`));
    });
  }

  #accept(datagram: Uint8Array): void {
    const current = this.#current;
    if (current === undefined) return;
    try {
      current.conversation.accept(datagram);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#heardMs = this.#timers.nowMs();
    if (!current.conversation.isFinished) return;
    this.#cancelTimer();
    this.#current = undefined;
    current.resolve();
  }

  #fail(error: unknown): void {
    this.#cancelTimer();
    const current = this.#current;
    this.#current = undefined;
    current?.reject(error);
  }
}
