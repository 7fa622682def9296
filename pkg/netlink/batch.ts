/**
 * nfnetlink batches: the kernel applies all messages between NFNL_MSG_BATCH_BEGIN and _END, or none of them
 * (include/uapi/linux/netfilter/nfnetlink.h, net/netfilter/nfnetlink.c).
 */
import { ByteWriter } from "./bytes.ts";
import { attribute, attributes, be16, be32, struct, u8 } from "./codec.ts";
import { NetlinkError } from "./errors.ts";
import type { Conversation } from "./exchange.ts";
import {
  type Message,
  NLM_F_ACK,
  NLMSG_ERROR,
  type Query,
  query,
  type Request,
  readAcknowledgement,
  splitDatagram,
  writeRequest,
} from "./message.ts";

const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
const NFNL_SUBSYS_NFTABLES = 10;

/** struct nfgenmsg of a batch delimiter: AF_UNSPEC, NFNETLINK_V0, res_id = subsystem in network order. */
const delimiterHeader = struct({ family: u8, version: u8, resource: be16 });
const delimiterAttributes = attributes({ generation: attribute(1, "NFNL_BATCH_GENID", be32) });

function delimiter(type: number, identifier: string, generation?: number): Query {
  const message = { identifier, type, header: delimiterHeader, attributes: delimiterAttributes };
  return query(message, "nft transaction", { resource: NFNL_SUBSYS_NFTABLES }, { generation });
}

/**
 * The message that begins a batch. With `generation` the kernel carries out the batch only if the ruleset has that
 * generation.
 */
export function beginBatch(generation?: number): Query {
  return delimiter(NFNL_MSG_BATCH_BEGIN, "NFNL_MSG_BATCH_BEGIN", generation);
}

/**
 * One atomic change of the ruleset. Only the last request asks for an acknowledgement, because each one takes space in
 * the receive buffer. The kernel reports every refused message under its own sequence number, and a failed commit under
 * the sequence number of the batch's first message.
 */
export class Batch implements Conversation {
  readonly datagram: Uint8Array;
  readonly #requests: readonly (Request | Query)[];
  readonly #first: number;
  readonly #where: string;
  readonly #echoes: Message[] = [];
  #finished = false;
  #error: NetlinkError | undefined;

  /** With `generation` the batch fails with ERESTART if the ruleset no longer has that generation. */
  constructor(requests: readonly Request[], firstSequence: number, where: string, generation?: number) {
    if (requests.length === 0) throw new RangeError("a batch needs at least one request");
    this.#requests = [beginBatch(generation), ...requests];
    this.#first = firstSequence;
    this.#where = where;
    const writer = new ByteWriter(requests.length * 160);
    this.#requests.forEach((item, index) => {
      writeRequest(writer, item, firstSequence + index, index === requests.length ? NLM_F_ACK : 0);
    });
    writeRequest(writer, delimiter(NFNL_MSG_BATCH_END, "NFNL_MSG_BATCH_END"), firstSequence + this.#requests.length, 0);
    this.datagram = writer.finish();
  }

  get isFinished(): boolean {
    return this.#finished;
  }

  /** The first refusal. If there is one, the kernel has changed nothing. */
  get error(): NetlinkError | undefined {
    return this.#error;
  }

  /** The objects that the kernel created from requests with NLM_F_ECHO, including their handles. */
  get echoes(): readonly Message[] {
    return this.#echoes;
  }

  accept(datagram: Uint8Array): void {
    for (const message of splitDatagram(datagram)) {
      const index = message.sequence - this.#first;
      const item = this.#requests[index];
      if (item === undefined) continue;
      if (message.type !== NLMSG_ERROR) {
        // The kernel also echoes the new generation, as the answer to the end of the batch, which is not in
        // `#requests`.
        this.#echoes.push({ ...message, payload: message.payload.slice() });
        continue;
      }
      const { errno, extendedText } = readAcknowledgement(message);
      if (errno > 0) this.#error ??= new NetlinkError(item, errno, extendedText, this.#where);
      // The kernel sends the answers in the order of the messages, after the commit or the abort.
      if (index === 0 || index === this.#requests.length - 1) this.#finished = true;
    }
  }

  /** The number of sequence numbers that the batch uses. */
  get sequenceCount(): number {
    return this.#requests.length + 1;
  }
}
