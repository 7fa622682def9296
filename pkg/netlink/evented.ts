import type { EventNetlinkSocket } from "../sys/event-netlink.ts";
import { Batch } from "./batch.ts";
import { type Conversation, Exchange, type Reply } from "./exchange.ts";
import type { Message, Query, Request } from "./message.ts";
import { DUMP_ATTEMPTS, inFlight, interruptedDump } from "./pace.ts";

/** Each datagram has its own buffer (`EventNetlinkSocket`). */
const OWN_BYTES = { keepsBytes: true };

/**
 * The longest time to wait for an answer. The kernel answers within milliseconds, a full dump of a large node within
 * seconds. Without a limit, a lost answer would block all queued calls forever.
 */
const ANSWER_LIMIT_MS = 60_000;

/** The clock functions that the driver needs. */
export interface Timers {
  nowMs(): number;
  /** Calls `callback` once after `delayMs`, unless the returned function has been called before. */
  setTimer(delayMs: number, callback: () => void): () => void;
}

/**
 * Sends requests to the kernel on an event loop: the daemon's driver. It queues calls and runs one conversation at a
 * time, because a socket carries one dump at a time. Notifications need another socket.
 */
export class EventedNetlink {
  readonly #socket: EventNetlinkSocket;
  readonly #timers: Timers;
  readonly where: string;
  #sequence = 1;
  #current: { conversation: Conversation; resolve: () => void; reject: (error: unknown) => void } | undefined;
  #tail: Promise<void> = Promise.resolve();
  /** The time of the last request to the kernel, or of the last datagram from it. */
  #heardMs = 0;
  #cancelTimer: () => void = () => undefined;

  constructor(socket: EventNetlinkSocket, where: string, timers: Timers) {
    this.#socket = socket;
    this.#timers = timers;
    this.where = where;
    socket.onDatagram((datagram) => this.#accept(datagram));
    socket.onError((error) => this.#fail(error));
  }

  /**
   * Returns the reply to each request, in the order of the requests. Refusals are in the replies; they are not thrown.
   * Use `dump` for dumps.
   */
  async exchange(requests: readonly (Request | Query)[]): Promise<Reply[]> {
    const replies: Reply[] = [];
    for (const part of inFlight(requests)) {
      const exchange = new Exchange(part, this.#take(part.length), this.where, OWN_BYTES);
      await this.#turn(exchange);
      replies.push(...exchange.replies());
    }
    return replies;
  }

  /**
   * Returns all messages of a consistent dump that `isWanted` selects; repeats a dump that was interrupted by a change.
   */
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
   * Commits all requests atomically (nfnetlink). With `generation` it fails with ERESTART if the ruleset has another
   * generation by now. Returns the objects that the kernel created from requests with NLM_F_ECHO.
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

  /**
   * Starts the timeout. It restarts with every datagram, because a dump may have thousands of messages. A datagram that
   * arrives after the timeout is ignored, because it belongs to no conversation.
   */
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
