/**
 * An nf_tables in memory, for unit tests. It decodes the encoded transactions, validates and applies them as the kernel
 * does, and answers dumps. `test/contract` compares it with the kernel (Linux 6.18).
 *
 * It does not support objects (counters, quotas), flow tables, anonymous sets or timeouts of single elements. There are
 * no packets, so rules add no elements and count nothing. Expressions that weft's codec does not support are stored
 * without checks. A commit announces created and changed objects, then NFT_MSG_NEWGEN; it does not announce deletions.
 */
import { ByteWriter } from "../netlink/bytes.ts";
import { attribute, attributes, be32, CodecError, i32, struct, u16, u32 } from "../netlink/codec.ts";
import {
  decode,
  type Message,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_ECHO,
  NLM_F_MULTI,
  NLMSG_DONE,
  NLMSG_ERROR,
  type Request,
  splitDatagram,
  writeRequest,
} from "../netlink/message.ts";
import { NFT_MSG_GETGEN, NFT_MSG_NEWGEN, NFT_MSG_NEWRULE, NFT_MSG_NEWSETELEM, nfgenmsg } from "../netlink/nftables.ts";
import { CHANGES, type Echo } from "./fake/changes.ts";
import { Draft } from "./fake/draft.ts";
import { dump, get } from "./fake/dumps.ts";
import { listRuleset } from "./fake/listing.ts";
import { ERRNO, Refusal } from "./fake/refusal.ts";
import type { RulesetState } from "./fake/state.ts";
import { type Told, told, writeTold } from "./fake/told.ts";
import { validateTable } from "./fake/validation.ts";

const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;

const BEGIN = {
  ...{ identifier: "NFNL_MSG_BATCH_BEGIN", type: NFNL_MSG_BATCH_BEGIN, header: nfgenmsg },
  attributes: attributes({ generation: attribute(1, "NFNL_BATCH_GENID", be32) }),
};

/** The result of a transaction before its commit. */
interface Outcome {
  readonly draft: Draft;
  /** Errno by the index of the message. */
  readonly errors: ReadonlyMap<number, number>;
  readonly echoes: readonly { readonly message: Message; readonly echo: Echo }[];
}

/** The port that represents other programs (`do`). */
const STRANGERS_PORT = 0xffff;

export class FakeNftables {
  /** The number of transactions received, refused ones included. */
  transactions = 0;
  /** Called before the fake serves each datagram, so that a test can simulate a race. */
  beforeAnswer: (messages: readonly Message[]) => void = () => undefined;
  /** Makes single changes fail: returns an errno, or 0. Not called for `do`. */
  refuse: (message: Message) => number = () => 0;
  #tables: RulesetState = new Map();
  #generation = 1;
  #lastTable = 0n;
  readonly #listeners = new Set<(datagram: Uint8Array, port: number) => void>();

  /** Returns the datagrams that answer `datagram` from the socket with this port. */
  answer(datagram: Uint8Array, port: number): Uint8Array[] {
    const messages = splitDatagram(datagram);
    this.beforeAnswer(messages);
    const [first] = messages;
    if (first?.type === NFNL_MSG_BATCH_BEGIN) return this.#transact(first, messages.slice(1), port);
    return messages.flatMap((message) => this.#tell(message, port));
  }

  /** Commits a transaction of another program. Throws if it is refused. */
  do(...requests: readonly Request[]): void {
    const writer = new ByteWriter();
    requests.forEach((item, index) => {
      writeRequest(writer, item, index, 0);
    });
    const outcome = this.#run(splitDatagram(writer.finish()), STRANGERS_PORT);
    for (const [at, errno] of outcome.errors) throw new Error(`${requests[at]?.text}: errno ${errno}`);
    this.#commit(outcome, STRANGERS_PORT);
  }

  /** Lists the ruleset, one line for each object (`listRuleset`). */
  list(): string[] {
    return listRuleset(this.#tables);
  }

  /** The ruleset's generation; each commit that changes something increments it. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Calls `listener` after each commit, with its announcements and the port of the committing socket. Returns a
   * function that removes the listener.
   */
  listen(listener: (datagram: Uint8Array, port: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Handles the close of a socket: deletes the tables that it owns. */
  release(port: number): void {
    for (const [key, { owner }] of this.#tables) if (owner === port) this.#tables.delete(key);
  }

  #transact(begin: Message, messages: readonly Message[], port: number): Uint8Array[] {
    this.transactions += 1;
    const { generation = 0 } = decode(BEGIN, begin).attributes;
    if (generation !== 0 && generation !== this.#generation) return [acknowledge(begin, ERRNO.ERESTART)];
    const end = messages.findIndex(({ type }) => type === NFNL_MSG_BATCH_END);
    // The kernel aborts a batch without an end.
    if (end < 0) return [];
    const changes = messages.slice(0, end);
    const outcome = this.#run(changes, port);
    const { errors, echoes } = outcome;
    const answers: Uint8Array[] = [];
    if (errors.size === 0) {
      this.#commit(outcome, port);
      for (const { message, echo } of echoes)
        if ((message.flags & NLM_F_ECHO) !== 0) answers.push(...echo().map((item) => tell(item, message, port, 0)));
    }
    changes.forEach((message, at) => {
      const errno = errors.get(at) ?? 0;
      if (errno !== 0 || (message.flags & NLM_F_ACK) !== 0) answers.push(acknowledge(message, errno));
    });
    return answers;
  }

  /**
   * Runs a transaction. If its validation fails, runs it again and validates after each message to find the invalid
   * one, as the kernel does.
   */
  #run(messages: readonly Message[], port: number): Outcome {
    const outcome = this.#attempt(messages, port, false);
    return outcome.errors.size === 0 && !isValid(outcome.draft) ? this.#attempt(messages, port, true) : outcome;
  }

  /** Continues after a refused message, as the kernel does, to report all refusals. */
  #attempt(messages: readonly Message[], port: number, validatesAtOnce: boolean): Outcome {
    const draft = new Draft(this.#tables, port, () => ++this.#lastTable);
    const errors = new Map<number, number>();
    const echoes: { message: Message; echo: Echo }[] = [];
    messages.forEach((message, at) => {
      try {
        const change = CHANGES[message.type];
        if (change === undefined) throw new Refusal("EINVAL");
        const errno = port === STRANGERS_PORT ? 0 : this.refuse(message);
        if (errno !== 0) {
          errors.set(at, errno);
          return;
        }
        const echo = change(draft, message);
        const mayLead = message.type === NFT_MSG_NEWRULE.type || message.type === NFT_MSG_NEWSETELEM.type;
        if (validatesAtOnce && mayLead) for (const table of draft.unvalidated) validateTable(table);
        echoes.push({ message, echo });
      } catch (error) {
        errors.set(at, errnoOf(error));
      }
    });
    return { draft, errors, echoes };
  }

  #commit({ draft, echoes }: Outcome, port: number): void {
    if (!draft.isChanged) return;
    this.#tables = draft.tables;
    this.#generation += 1;
    const writer = new ByteWriter();
    for (const { message, echo } of echoes)
      for (const item of echo()) writeTold(writer, item, message.sequence, port, 0);
    writeTold(writer, this.#tellGeneration(), 0, port, 0);
    const datagram = writer.finish();
    for (const listener of this.#listeners) listener(datagram, port);
  }

  #tellGeneration(): Told {
    return told(NFT_MSG_NEWGEN, {}, { id: this.#generation });
  }

  #tell(message: Message, port: number): Uint8Array[] {
    const isDump = (message.flags & NLM_F_DUMP) === NLM_F_DUMP;
    try {
      if (CHANGES[message.type] !== undefined) throw new Refusal("EINVAL");
      const items =
        message.type === NFT_MSG_GETGEN.type ? [this.#tellGeneration()] : (isDump ? dump : get)(this.#tables, message);
      const datagrams = items.map((item) => tell(item, message, port, isDump ? NLM_F_MULTI : 0));
      if (isDump) return [...datagrams, ending(message, NLMSG_DONE, 0)];
      return (message.flags & NLM_F_ACK) === 0 ? datagrams : [...datagrams, acknowledge(message, 0)];
    } catch (error) {
      return [acknowledge(message, errnoOf(error))];
    }
  }
}

function isValid(draft: Draft): boolean {
  try {
    for (const table of draft.unvalidated) validateTable(table);
    return true;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

function errnoOf(error: unknown): number {
  if (error instanceof Refusal) return error.errno;
  if (error instanceof CodecError) return ERRNO.ERANGE;
  throw error;
}

function tell(item: Told, { sequence }: Message, port: number, flags: number): Uint8Array {
  const writer = new ByteWriter();
  writeTold(writer, item, sequence, port, flags);
  return writer.finish();
}

/** struct nlmsgerr */
const header = struct({ error: i32, length: u32, type: u16, flags: u16, sequence: u32, port: u32 });
const ENDING = { header, attributes: attributes({}) };

function ending({ sequence, type, flags, payload }: Message, kind: number, errno: number): Uint8Array {
  const writer = new ByteWriter();
  const repeated = { length: payload.length + 16, type, flags, sequence };
  writeTold(writer, told({ ...ENDING, type: kind }, { error: -errno, ...repeated }, {}), sequence, 0, 0);
  return writer.finish();
}

function acknowledge(message: Message, errno: number): Uint8Array {
  return ending(message, NLMSG_ERROR, errno);
}
