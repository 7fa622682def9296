/** The state that the steps share: the question, the knowledge of the node, and the hops so far. */

import type { Hop } from "../../pkg/backend/inspection.ts";
import type { Peer } from "../../pkg/backend/node.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { contains } from "../../pkg/ip/prefix.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { ownerMark } from "../../pkg/kernel/owner.ts";
import type { Packet } from "../../pkg/packet-walk/packet.ts";
import { Scratch } from "../../pkg/packet-walk/scratch.ts";
import type { JudgementPage } from "../node/policies-page.ts";
import { peerStates } from "../status/peers.ts";
import type { Knowledge, Owner, Question } from "./knowledge.ts";

/** Thrown to end the trace, after the last hop was added. */
export class End extends Error {}

/** The path of a packet, as far as it was followed. */
export class Trace {
  readonly hops: Hop[] = [];
  readonly knowledge: Knowledge;
  /** The question of the caller. */
  readonly asked: Question;
  /** What rules have written into the packet. */
  readonly scratch = new Scratch();
  #question: Question;
  #original: Packet["original"];
  /** True if a pod of this node sent the packet. */
  isFromPod = false;
  /** The source that the kernel chose for the node's own packet. */
  sender: Address | undefined;
  /** Destinations to which the rules of Services may send the packet, such as "10.244.1.2:8080". */
  targets: readonly string[] = [];
  /** The verdict of the rules of Services, if they drop or reject the packet. */
  refusal: "reject" | "drop" | undefined;
  /** True if a rule masquerades the packet. Undefined until the packet reaches those rules. */
  isMasqueraded: boolean | undefined;
  /** weftd's judgement of the connection by policies. Undefined until it was asked for, and if there is none. */
  judgement: JudgementPage | undefined;
  /** The verdict of the policies' rules; undefined until the packet reached them. */
  policyVerdict: "pass" | "drop" | "unknown" | undefined;
  /** True if the packet passed the hooks that translate destinations. */
  hasMetServices = false;

  constructor(question: Question, knowledge: Knowledge) {
    this.#question = question;
    this.asked = question;
    this.knowledge = knowledge;
  }

  /** The question for the packet's current destination, which rules may have translated. */
  get question(): Question {
    return this.#question;
  }

  /** The destination that the sender wrote. Undefined if it was not translated. */
  get original(): Packet["original"] {
    return this.#original;
  }

  /** Records that a rule translated the destination. */
  translate(destination: Address, port: number | undefined): void {
    const { destination: before, port: portBefore } = this.#question;
    this.#original ??= { destination: before, port: portBefore };
    this.#question = { ...this.#question, destination, port: port ?? portBefore };
  }

  /** Adds a hop. */
  say(hop: Hop): void {
    this.hops.push(hop);
  }

  /** Adds the last hop. Throws `End`. */
  end(hop: Omit<Hop, "state">, state: "ends" | "astray" | "note" = "ends"): never {
    this.hops.push({ ...hop, state });
    throw new End();
  }

  linkOf(index: number | undefined): Link | undefined {
    return this.knowledge.observed.links.find((link) => link.index === index);
  }

  /** The node with a pod subnet that contains the address. */
  peerOf(address: Address): Peer | undefined {
    return this.knowledge.table?.peers.find(({ subnets }) => subnets.some((subnet) => contains(subnet, address)));
  }

  /** True if the address is in one of this node's pod subnets. */
  isOwnPod(address: Address): boolean {
    return this.knowledge.table?.node.subnets.some((subnet) => contains(subnet, address)) === true;
  }

  /** The host's end of a pod's link, by its mark. Undefined for pods of other programs' plugins. */
  podLink({ containerId, ifName }: Owner): Link | undefined {
    const { observed, attachment } = this.knowledge;
    const mark = ownerMark({ network: attachment.network, containerId, ifName: ifName ?? "" });
    return observed.links.find(({ alias }) => (ifName === undefined ? alias.startsWith(mark) : alias === mark));
  }

  /** The entries for a peer: the routes that weftd would program. */
  entriesOf(peer: Peer) {
    const { table, desired, observed } = this.knowledge;
    if (table === undefined || desired === undefined) return undefined;
    return peerStates({ node: table.node, peers: [peer] }, desired, observed)[0];
  }
}
