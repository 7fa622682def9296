/**
 * A transaction that the kernel tests and never carries out: it validates each message of a batch without
 * NFNL_MSG_BATCH_END and then aborts the batch (net/netfilter/nfnetlink.c, nfnetlink_rcv_batch). The kernel loads the
 * modules that the batch needs.
 */
import { beginBatch } from "./batch.ts";
import { ByteWriter } from "./bytes.ts";
import { NetlinkError } from "./errors.ts";
import type { Conversation } from "./exchange.ts";
import { NLM_F_ACK, NLMSG_ERROR, type Request, readAcknowledgement, splitDatagram, writeRequest } from "./message.ts";

export class Trial implements Conversation {
  readonly datagram: Uint8Array;
  readonly #requests: readonly Request[];
  readonly #first: number;
  readonly #where: string;
  readonly #errors = new Map<number, NetlinkError | undefined>();
  #refusal: NetlinkError | undefined;

  constructor(requests: readonly Request[], firstSequence: number, where: string) {
    this.#requests = requests;
    this.#first = firstSequence;
    this.#where = where;
    const writer = new ByteWriter(requests.length * 160);
    writeRequest(writer, beginBatch(), firstSequence, 0);
    requests.forEach((item, at) => {
      writeRequest(writer, item, firstSequence + 1 + at, NLM_F_ACK);
    });
    this.datagram = writer.finish();
  }

  get isFinished(): boolean {
    return this.#refusal !== undefined || this.#errors.size === this.#requests.length;
  }

  /**
   * The result for each request, in order; undefined if the kernel would carry it out. Throws if the kernel tested
   * none.
   */
  get verdicts(): readonly (NetlinkError | undefined)[] {
    if (this.#refusal !== undefined) throw this.#refusal;
    return this.#requests.map((_, at) => this.#errors.get(at));
  }

  /** The number of sequence numbers that the trial uses. */
  get sequenceCount(): number {
    return this.#requests.length + 1;
  }

  accept(datagram: Uint8Array): void {
    for (const message of splitDatagram(datagram)) {
      if (message.type !== NLMSG_ERROR) continue;
      const at = message.sequence - this.#first - 1;
      const item = this.#requests[Math.max(at, 0)];
      if (item === undefined) continue;
      const { errno, extendedText } = readAcknowledgement(message);
      const error = errno > 0 ? new NetlinkError(item, errno, extendedText, this.#where) : undefined;
      // The kernel refuses the entire batch: missing privileges, or no such subsystem.
      if (at < 0) this.#refusal ??= error;
      else this.#errors.set(at, error);
    }
  }
}
