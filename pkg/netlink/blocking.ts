import type { NetlinkSocket, NetworkNamespace, System } from "../sys/system.ts";
import { Batch } from "./batch.ts";
import type { NetlinkError } from "./errors.ts";
import { type Conversation, Exchange, type Reply } from "./exchange.ts";
import { type Message, NETLINK_NETFILTER, NETLINK_ROUTE, type Query, type Request } from "./message.ts";
import { DUMP_ATTEMPTS, inFlight, interruptedDump } from "./pace.ts";
import { Trial } from "./trial.ts";

/** How long the kernel may be silent: it answers at once, or holds the RTNL lock while devices are torn down. */
const SILENCE_MS = 30_000;

/** Asks the kernel and waits for the answers: the executables' driver, on a blocking socket. */
export class BlockingNetlink {
  readonly #socket: NetlinkSocket;
  readonly where: string;
  #sequence = 1;

  constructor(socket: NetlinkSocket, where: string) {
    this.#socket = socket;
    this.where = where;
  }

  /** Each request's own answer, in their order; refusals are in the replies, not thrown. Dumps go by `dump`. */
  exchange(requests: readonly (Request | Query)[]): Reply[] {
    const replies: Reply[] = [];
    for (const part of inFlight(requests)) {
      const exchange = new Exchange(part, this.#take(part.length), this.where);
      this.#turn(exchange);
      replies.push(...exchange.replies());
    }
    return replies;
  }

  /** As `exchange`, but the first refusal is thrown (later requests of the same call may have taken effect). */
  run(...requests: readonly (Request | Query)[]): Message[] {
    const messages: Message[] = [];
    for (const reply of this.exchange(requests)) {
      if (reply.error !== undefined) throw reply.error;
      messages.push(...reply.messages);
    }
    return messages;
  }

  /**
   * All messages of a consistent dump: an interrupted one is asked for again. With `isWanted` only those are kept, so that
   * a few of a great many take little memory; the payload that it is given is valid only during the call.
   */
  dump(request: Query, isWanted?: (message: Message) => boolean): readonly Message[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const options = isWanted === undefined ? {} : { isWanted };
      const exchange = new Exchange([request], this.#take(1), this.where, options);
      this.#turn(exchange);
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
  commit(requests: readonly Request[], generation?: number): readonly Message[] {
    if (requests.length === 0) return [];
    const batch = new Batch(requests, this.#sequence, this.where, generation);
    this.#take(batch.sequenceCount);
    this.#turn(batch);
    if (batch.error !== undefined) throw batch.error;
    return batch.echoes;
  }

  /**
   * What the kernel would say of each request of one transaction, which is not carried out; undefined: it would do it.
   * Throws where the whole is refused (EPERM).
   */
  judge(requests: readonly Request[]): readonly (NetlinkError | undefined)[] {
    const trial = new Trial(requests, this.#sequence, this.where);
    this.#take(trial.sequenceCount);
    this.#turn(trial);
    return trial.verdicts;
  }

  /**
   * The first messages of a dump, as many as come in one datagram: for the head of a long list. The socket serves no
   * other request after it; closing it ends the dump.
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

/** rtnetlink in `namespace` (default: the process's own). */
export function openRoute(system: System, namespace?: NetworkNamespace): BlockingNetlink {
  return new BlockingNetlink(system.openNetlink(NETLINK_ROUTE, namespace), namespace?.path ?? "the host's namespace");
}

/** nfnetlink in `namespace` (default: the process's own). */
export function openNetfilter(system: System, namespace?: NetworkNamespace): BlockingNetlink {
  return new BlockingNetlink(
    system.openNetlink(NETLINK_NETFILTER, namespace),
    namespace?.path ?? "the host's namespace",
  );
}
