import { expect, test } from "vitest";
import { type Encodable, type Message, query } from "../netlink/message.ts";
import { NFPROTO, NFT_MSG_NEWCHAIN } from "../netlink/nftables.ts";
import { readChains } from "../nft/ruleset.ts";
import { BaseChains } from "./base-chains.ts";

const FORWARD = 2;
const IP = new Set([NFPROTO.ip]);

const message = ({ type, body }: Encodable): Message => ({ type, flags: 0, sequence: 0, portId: 0, payload: body });

function chain(name: string, hook?: number): Message {
  const base = hook === undefined ? {} : { hook: { number: hook, priority: 0 } };
  return message(query(NFT_MSG_NEWCHAIN, "", { family: NFPROTO.ip }, { table: "site", name, ...base }));
}

/** A kernel with the chains of one table. Records the requests it receives. */
class Kernel {
  readonly chains = new Map<string, Message>();
  asked: string[] = [];

  add(name: string, hook?: number): Message {
    const made = chain(name, hook);
    this.chains.set(name, made);
    return made;
  }

  /** Returns the names of the base chains that one dump finds. `meanwhile` runs after the kernel has answered. */
  look(bases: BaseChains, meanwhile: () => void = () => undefined): string[] {
    this.asked = [];
    const look = bases.look(IP);
    for (let step = look.next(); ; ) {
      if (step.done === true) return step.value.map((found) => found.chain);
      const answers = step.value.flatMap((question) => this.#answer(question));
      meanwhile();
      step = look.next(answers);
    }
  }

  #answer({ text }: Encodable): readonly Message[] {
    this.asked.push(text);
    if (text === "nft list chains ip") return [...this.chains.values()];
    const [, name = ""] = /^nft list chain ip site (\S+) \(without rules\)$/.exec(text) ?? [];
    return [...this.chains].flatMap(([known, made]) => (known === name ? [made] : []));
  }
}

test("dumps a family's chains once, then reads forward chains by name", () => {
  const [kernel, bases] = [new Kernel(), new BaseChains()];
  kernel.add("forward", FORWARD);
  kernel.add("input", 1);
  kernel.add("service-1");
  expect(kernel.look(bases)).toEqual(["forward"]);
  expect(kernel.asked).toEqual(["nft list chains ip"]);
  expect(kernel.look(bases)).toEqual(["forward"]);
  expect(kernel.asked).toEqual(["nft list chain ip site forward (without rules)"]);
});

test("finds an announced chain without a dump and stops reading a removed one", () => {
  const [kernel, bases] = [new Kernel(), new BaseChains()];
  kernel.look(bases);
  bases.announced(readChains([kernel.add("later", FORWARD), kernel.add("input", 1)]));
  expect(kernel.look(bases)).toEqual(["later"]);
  expect(kernel.asked).toEqual(["nft list chain ip site later (without rules)"]);
  kernel.chains.delete("later");
  expect(kernel.look(bases)).toEqual([]);
  kernel.look(bases);
  expect(kernel.asked).toEqual([]);
});

test("keeps a chain announced between the kernel's answer and its processing", () => {
  const [kernel, bases] = [new Kernel(), new BaseChains()];
  const announce = (name: string) => bases.announced(readChains([kernel.add(name, FORWARD)]));
  kernel.look(bases, () => announce("during-the-dump"));
  expect(kernel.look(bases)).toEqual(["during-the-dump"]);
  kernel.chains.clear();
  expect(kernel.look(bases, () => announce("during-the-dump"))).toEqual([]);
  expect(kernel.look(bases)).toEqual(["during-the-dump"]);
});

test("dumps all chains again after lost notifications, even during a dump", () => {
  const [kernel, bases] = [new Kernel(), new BaseChains()];
  kernel.look(bases, () => bases.forget());
  kernel.add("unheard", FORWARD);
  expect(kernel.look(bases)).toEqual(["unheard"]);
  expect(kernel.asked).toEqual(["nft list chains ip"]);
  kernel.add("another", FORWARD);
  bases.forget();
  expect(kernel.look(bases)).toEqual(["unheard", "another"]);
});
