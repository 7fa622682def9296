import type { NetlinkSocket, NetworkNamespace, System } from "../sys/system.ts";
import { Batch } from "./batch.ts";
import type { NetlinkError } from "./errors.ts";
import { type Conversation, Exchange, type ExchangeOptions, type Reply } from "./exchange.ts";
import { type Message, NETLINK_NETFILTER, NETLINK_ROUTE, type Query, type Request } from "./message.ts";
import { DUMP_ATTEMPTS, IN_FLIGHT, inFlight, interruptedDump } from "./pace.ts";
import { Trial } from "./trial.ts";

/**
 * The longest time to wait for an answer. The kernel answers at once, except while it holds the RTNL lock to tear down
 * devices.
 */
const SILENCE_MS = 30_000;

/** Sends requests to the kernel and waits for the answers: the executables' driver, on a blocking socket. */
export class BlockingNetlink {
  readonly #socket: NetlinkSocket;
  readonly where: string;
  #sequence = 1;

  constructor(socket: NetlinkSocket, where: string) {
    this.#socket = socket;
    this.where = where;
  }

  /**
   * Returns the reply to each request, in the order of the requests. Refusals are in the replies; they are not thrown.
   * Use `dump` for dumps; only the last request of at most 64 may be one here, and the caller then handles its
   * interruption. `isWanted` is that of `dump`.
   */
  exchange(requests: readonly (Request | Query)[], isWanted?: (message: Message) => boolean): Reply[] {
    if (requests.length === 0) return [];
    if (requests.length <= IN_FLIGHT) return this.#send(requests, { isWanted });
    return [...inFlight(requests)].flatMap((part) => this.#send(part, { isWanted }));
  }

  /** Like `exchange`, but throws the first refusal. Later requests of the same call may have taken effect. */
  run(...requests: readonly (Request | Query)[]): Message[] {
    const messages: Message[] = [];
    for (const reply of this.exchange(requests)) {
      if (reply.error !== undefined) throw reply.error;
      for (const message of reply.messages) messages.push(message);
    }
    return messages;
  }

  /**
   * Returns all messages of a consistent dump; repeats a dump that was interrupted by a change. With `isWanted` it
   * keeps only some messages, so that selecting a few of a great many takes little memory. The payload passed to
   * `isWanted` is valid only during the call.
   */
  dump(request: Query, isWanted?: (message: Message) => boolean): readonly Message[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const exchange = new Exchange([request], this.#take(1), this.where, { isWanted });
      this.#turn(exchange);
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
  commit(requests: readonly Request[], generation?: number): readonly Message[] {
    if (requests.length === 0) return [];
    const batch = new Batch(requests, this.#sequence, this.where, generation);
    this.#take(batch.sequenceCount);
    this.#turn(batch);
    if (batch.error !== undefined) throw batch.error;
    return batch.echoes;
  }

  /**
   * Tests each request of a transaction without carrying it out. An entry of the result is undefined if the kernel
   * would accept the request. Throws if the kernel refuses the entire transaction (EPERM).
   */
  judge(requests: readonly Request[]): readonly (NetlinkError | undefined)[] {
    const trial = new Trial(requests, this.#sequence, this.where);
    this.#take(trial.sequenceCount);
    this.#turn(trial);
    return trial.verdicts;
  }

  /**
   * Returns the messages in the first datagram of a dump, to read the beginning of a long list. Afterwards the socket
   * cannot serve another request; closing it ends the dump.
   */
  dumpHead(request: Query): readonly Message[] {
    const exchange = new Exchange([request], this.#take(1), this.where);
    this.#socket.send(exchange.datagram);
    exchange.accept(this.#socket.receive(SILENCE_MS));
    const reply = exchange.replies()[0];
    if (reply?.error !== undefined) throw reply.error;
    return reply?.messages ?? [];
  }

  close(): void {
    this.#socket.close();
  }

  #send(requests: readonly (Request | Query)[], options: ExchangeOptions): Reply[] {
    const exchange = new Exchange(requests, this.#take(requests.length), this.where, options);
    this.#turn(exchange);
    return exchange.replies();
  }

  #take(count: number): number {
    const first = this.#sequence;
    this.#sequence += count;
    return first;
  }

  #turn(conversation: Conversation): void {
    this.#socket.send(conversation.datagram);
    while (!conversation.isFinished) conversation.accept(this.#socket.receive(SILENCE_MS));
  }
}

/** Opens rtnetlink in `namespace` (default: the process's own). */
export function openRoute(system: System, namespace?: NetworkNamespace): BlockingNetlink {
  return new BlockingNetlink(system.openNetlink(NETLINK_ROUTE, namespace), namespace?.path ?? "the host's namespace");
}

/** Opens nfnetlink in `namespace` (default: the process's own). */
export function openNetfilter(system: System, namespace?: NetworkNamespace): BlockingNetlink {
  return new BlockingNetlink(
    system.openNetlink(NETLINK_NETFILTER, namespace),
    namespace?.path ?? "the host's namespace",
  );
}
