/** What the steps of a packet's way share: the question, what is known of the node, and what has been said so far. */

import type { Hop } from "../../pkg/backend/inspection.ts";
import type { Peer } from "../../pkg/backend/node.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { contains } from "../../pkg/ip/prefix.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { ownerMark } from "../../pkg/kernel/owner.ts";
import type { Packet } from "../../pkg/packet-walk/packet.ts";
import { Scratch } from "../../pkg/packet-walk/scratch.ts";
import { peerStates } from "../status/peers.ts";
import type { Knowledge, Owner, Question } from "./knowledge.ts";

/** Thrown to end the way: what there is to say has been said. */
export class End extends Error {}

/** A packet's way as far as it was followed. */
export class Trace {
  readonly hops: Hop[] = [];
  readonly knowledge: Knowledge;
  /** As it was asked. */
  readonly asked: Question;
  /** What rules have written into the packet. */
  readonly scratch = new Scratch();
  #question: Question;
  #original: Packet["original"];
  /** The packet was sent by a pod of this node. */
  isFromPod = false;
  /** The source that the kernel chose for a packet of the node's own. */
  sender: Address | undefined;
  /** Where the rules of Services may lead it: "10.244.1.2:8080". */
  targets: readonly string[] = [];
  /** What the rules of Services do with it in the end. */
  refusal: "reject" | "drop" | undefined;
  /** Some rule masquerades it; undefined while it has not come to those rules. */
  isMasqueraded: boolean | undefined;
  /** The packet came to the hooks where destinations are translated. */
  hasMetServices = false;

  constructor(question: Question, knowledge: Knowledge) {
    this.#question = question;
    this.asked = question;
    this.knowledge = knowledge;
  }

  /** As the packet is now: its destination may be another than the one asked for. */
  get question(): Question {
    return this.#question;
  }

  /** The destination as the sender wrote it; undefined where it was not translated. */
  get original(): Packet["original"] {
    return this.#original;
  }

  /** A rule has given the packet another destination. */
  translate(destination: Address, port: number | undefined): void {
    const { destination: before, port: portBefore } = this.#question;
    this.#original ??= { destination: before, port: portBefore };
    this.#question = { ...this.#question, destination, port: port ?? portBefore };
  }

  /** Adds a step. */
  say(hop: Hop): void {
    this.hops.push(hop);
  }

  /** Adds the last step. Throws `End`. */
  end(hop: Omit<Hop, "state">, state: "ends" | "astray" | "note" = "ends"): never {
    this.hops.push({ ...hop, state });
    throw new End();
  }

  linkOf(index: number | undefined): Link | undefined {
    return this.knowledge.observed.links.find((link) => link.index === index);
  }

  /** The node whose pod subnets hold it. */
  peerOf(address: Address): Peer | undefined {
    return this.knowledge.table?.peers.find(({ subnets }) => subnets.some((subnet) => contains(subnet, address)));
  }

  /** True for addresses of this node's pod subnets. */
  isOwnPod(address: Address): boolean {
    return this.knowledge.table?.node.subnets.some((subnet) => contains(subnet, address)) === true;
  }

  /** The host's end of a pod's link: by its mark, or, for pods of others' plugins, not at all. */
  podLink({ containerId, ifName }: Owner): Link | undefined {
    const { observed, attachment } = this.knowledge;
    const mark = ownerMark({ network: attachment.network, containerId, ifName: ifName ?? "" });
    return observed.links.find(({ alias }) => (ifName === undefined ? alias.startsWith(mark) : alias === mark));
  }

  /** Of a peer's pod: the route that weftd would make. */
  entriesOf(peer: Peer) {
    const { table, desired, observed } = this.knowledge;
    if (table === undefined || desired === undefined) return undefined;
    return peerStates({ node: table.node, peers: [peer] }, desired, observed)[0];
  }
}
