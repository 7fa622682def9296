/** Judges tracked connections as the kernel would judge their first packets. */
import { type Address, addressToBytes, isSameAddress } from "../ip/address.ts";
import { addressBytesKey, type Flow } from "../kernel/flow.ts";
import type { Question } from "./judgement.ts";

/** A cluster has far fewer pairs of addresses and port than flows. More are forgotten, to bound the memory. */
const REMEMBERED = 32_768;

export class FlowJudge<T> {
  readonly #judge: (question: Question) => T | undefined;
  readonly #own: ReadonlySet<string>;
  readonly #known = new Map<string, T | undefined>();

  /**
   * `judge` returns the denial of a connection, or undefined if it is allowed. `own` are the addresses of the node: it
   * may always send to its pods.
   */
  constructor(judge: (question: Question) => T | undefined, own: readonly Address[]) {
    this.#judge = judge;
    this.#own = new Set(own.map((address) => addressBytesKey(addressToBytes(address))));
  }

  /** Returns the denial; undefined if the flow is allowed. */
  denial(flow: Flow): T | undefined {
    if (flow.isExpected || this.#own.has(flow.fromKey)) return undefined;
    const { key } = flow;
    if (this.#known.has(key)) return this.#known.get(key);
    const { from, to, protocol, port } = flow;
    // A pod never blocks itself, for example through a Service.
    const denial = isSameAddress(from, to) ? undefined : this.#judge({ from, to, protocol, port });
    if (this.#known.size >= REMEMBERED) this.#known.clear();
    this.#known.set(key, denial);
    return denial;
  }
}
