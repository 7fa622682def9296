/**
 * The rows of test/vectors/services on the mode's own rules: programs them into the nf_tables in memory, and follows
 * each packet through them hook by hook, as `weft explain` does with a kernel's rules.
 */
import { describe, expect, it } from "vitest";
import { openRules } from "../../command/node/rules.ts";
import { formatAddress, isSameAddress, parseAddress } from "../../pkg/ip/address.ts";
import { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { NETLINK_NETFILTER } from "../../pkg/netlink/message.ts";
import { NF_INET_HOOK } from "../../pkg/netlink/nftables.ts";
import { RTN_LOCAL, RTN_UNICAST } from "../../pkg/netlink/route.ts";
import type { Packet } from "../../pkg/packet-walk/packet.ts";
import { type Choice, type Ending, isStopped, type Ruleset, walk } from "../../pkg/packet-walk/ruleset.ts";
import { Scratch } from "../../pkg/packet-walk/scratch.ts";
import { ServiceMap } from "../../pkg/services/service-map.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { program } from "./command-bed.ts";
import { allCases, type Case, expectationOf, PROTOCOLS, type Row } from "./rows.ts";
import { fill, type State, stateOf } from "./state.ts";

type Hook = keyof typeof NF_INET_HOOK;

/** The result of a packet. `target` is the destination that the first hook gives it. */
interface Passage {
  readonly stop: "reject" | "drop" | undefined;
  readonly targets: readonly Choice[];
  readonly isMasqueraded: boolean;
}

class Node {
  readonly #rules: Ruleset;
  readonly #state: State;

  constructor(rules: Ruleset, state: State) {
    this.#rules = rules;
    this.#state = state;
  }

  typeOf(text: string): number {
    const address = parseAddress(text);
    return this.#state.ownAddresses.some((own) => isSameAddress(own, address)) ? RTN_LOCAL : RTN_UNICAST;
  }

  /** `chosen` is the target to follow; undefined: any. */
  pass({ from, to, port, protocol }: Row, chosen?: Choice): Passage {
    const isOwn = this.typeOf(from) === RTN_LOCAL;
    const scratch = new Scratch();
    const choose = (targets: readonly Choice[]) => chosen ?? targets[0];
    let packet: Packet = {
      ...{
        source: parseAddress(from),
        destination: parseAddress(to),
        protocol: PROTOCOLS[protocol],
        destinationPort: port,
      },
      ...{ sourceType: this.typeOf(from), destinationType: this.typeOf(to) },
    };
    const at = (hook: Hook) => {
      const result = walk(this.#rules, NF_INET_HOOK[hook], packet, { scratch, choose });
      // Every property of the packet that the rules test is known.
      expect(result.perhaps.filter(({ chain }) => !/remember|affinity/.test(chain.chain))).toEqual([]);
      packet = result.packet;
      return result;
    };
    const stopOf = (ending: Ending | undefined) => (isStopped(ending) ? ending.action : undefined);
    const first = at(isOwn ? "output" : "prerouting");
    const targets = first.translation?.targets ?? [];
    if (isStopped(first.ending)) return { stop: stopOf(first.ending), targets, isMasqueraded: false };
    const isForHere = this.typeOf(formatAddress(packet.destination)) === RTN_LOCAL;
    packet = { ...packet, destinationType: isForHere ? RTN_LOCAL : RTN_UNICAST };
    if (!isForHere && !isOwn) {
      const { ending } = at("forward");
      if (isStopped(ending)) return { stop: stopOf(ending), targets, isMasqueraded: false };
    }
    // A packet for this node itself passes postrouting only if it also comes from this node.
    const isMasqueraded = (isOwn || !isForHere) && at("postrouting").translation?.action === "masquerade";
    return { stop: isForHere ? stopOf(at("input").ending) : undefined, targets, isMasqueraded };
  }

  outcome(row: Row) {
    const { stop, targets } = this.pass(row);
    if (targets.length === 0) return { expect: stop ?? "untouched", masqueraded: [] };
    const passages = targets.map((target) => ({ text: textOf(target), ...this.pass(row, target) }));
    const reached = passages.filter((passage) => passage.stop === undefined);
    if (reached.length === 0) return { expect: passages[0]?.stop, masqueraded: [] };
    return {
      expect: reached.map(({ text }) => text).sort(),
      masqueraded: reached
        .filter((passage) => passage.isMasqueraded)
        .map(({ text }) => text)
        .sort(),
    };
  }
}

function textOf({ address, port }: Choice): string {
  const text = address === undefined ? "?" : formatAddress(address);
  return text.includes(":") ? `[${text}]:${port}` : `${text}:${port}`;
}

function nodeOf(each: Case): Node {
  const state = stateOf(each);
  const map = new ServiceMap();
  fill(map, state);
  map.changes();
  const nftables = program({ map, settings: state.settings });
  const system = new FakeSystem({ netlink: (datagram) => nftables.answer(datagram, 2) });
  return new Node(openRules(new BlockingNetlink(system.openNetlink(NETLINK_NETFILTER), "the fake")), state);
}

describe.each(allCases().map((each) => [each.title, each] as const))("%s", (_, each) => {
  const node = nodeOf(each);
  it.each(each.rows.map((row) => [row.name, row] as const))("%s", (_name, row) => {
    expect(node.outcome(row)).toEqual(expectationOf(row));
  });
});
