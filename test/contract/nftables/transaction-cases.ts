import { NFT_MSG_NEWGEN } from "../../../pkg/netlink/nftables.ts";
import { generationOf, generationRequest } from "../../../pkg/netlink/ruleset.ts";
import type { Cases } from "./case.ts";
import {
  addChain,
  addElements,
  addRule,
  addSet,
  addTable,
  deleteChain,
  deleteElements,
  deleteRule,
  deleteTable,
  getChain,
  hooked,
  jump,
  key,
  SETS,
} from "./requests.ts";
import { commit, commitEach, list, outcomeOf, type Side } from "./side.ts";

async function generation({ netlink }: Pick<Side, "netlink">): Promise<number> {
  const [reply] = await netlink.exchange([generationRequest()]);
  return generationOf(reply?.messages ?? []) ?? Number.NaN;
}

export const transactionCases: Cases = {
  "a failed transaction changes nothing": {
    async run(side) {
      await commit(side, addTable(), addChain("c"), addRule("c", "1"));
      const outcome = await commit(side, addChain("d"), addRule("c", "2"), deleteRule("x"), deleteChain("y"));
      return [outcome, await list(side)];
    },
    expected: ["ENOENT: delete rule x undefined", { c: ["1"] }],
  },
  "a message sees the effect of earlier messages of its transaction": {
    async run(side) {
      const outcome = await commit(
        side,
        ...[addTable(), addChain("c"), addRule("c", "1"), deleteTable(), addTable(), addChain("d")],
        ...[addChain("e"), addRule("d", "2", [jump("e")]), deleteRule("d"), deleteChain("e")],
        ...[addSet("s", SETS.addresses), addElements("s", [key(1)]), deleteElements("s", [key(1)])],
      );
      return [outcome, await list(side)];
    },
    expected: ["done", { d: [], s: [] }],
  },
  "a rejected element also reverts the earlier elements of its message": {
    async run(side) {
      await commit(side, addTable(), addSet("s", SETS.addresses));
      const outcome = await commit(side, addElements("s", [key(1), { key: { value: Uint8Array.of(1) } }]));
      return [outcome, await list(side)];
    },
    expected: ["EINVAL: add element s", { s: [] }],
  },
  "a transaction for an outdated generation is ERESTART": {
    async run(side) {
      await commit(side, addTable());
      const other = await side.openProgram();
      const seen = await generation(side);
      const first = await outcomeOf(side.netlink.commit([addChain("a")], seen));
      const late = await outcomeOf(side.netlink.commit([addChain("b")], seen));
      const between = await commit(other, addChain("c"));
      const outdated = await outcomeOf(side.netlink.commit([addChain("d")], seen + 1));
      const anew = await outcomeOf(side.netlink.commit([addChain("e")], await generation(side)));
      other.close();
      return [first, late.split(":")[0] ?? "", between, outdated.split(":")[0] ?? "", anew, await list(side)];
    },
    expected: ["done", "ERESTART", "done", "ERESTART", "done", { a: [], c: [], e: [] }],
  },
  "a commit that changes something starts a generation and sends a notification": {
    async run(side) {
      await commit(side, addTable());
      await side.heard();
      const grown: number[] = [];
      for (const request of [
        ...[addTable(), addChain("c"), addChain("x", { table: "x" }), addSet("s", SETS.addresses)],
        ...[addElements("s", [key(1)]), addElements("s", [key(1)]), deleteRule("c"), deleteElements("s")],
      ]) {
        const before = await generation(side);
        await commit(side, request);
        grown.push((await generation(side)) - before);
      }
      return [grown, (await side.heard()).filter((type) => type === NFT_MSG_NEWGEN.type).length];
    },
    expected: [[0, 1, 0, 1, 1, 0, 0, 1], 4],
  },
  "a commit sends notifications of created and changed objects, and then of the generation": {
    async run(side) {
      await side.heard();
      const ranges = [key(1), key(2)];
      await commit(
        side,
        ...[addTable(), addChain("c"), addChain("f", hooked(2)), addSet("s", SETS.addresses)],
        ...[addElements("s", ranges), addRule("c", "1")],
      );
      const made = await side.heard();
      await commit(side, addTable(), addElements("s", ranges), addChain("f", { policy: 0 }));
      return [...made, ...(await side.heard())].map((type) => type & 0xff);
    },
    expected: [0, 3, 3, 9, 12, 12, 6, 15, 3, 15],
  },
  "GET inside a transaction and NEW outside one are EINVAL": {
    async run(side) {
      const [reply] = await side.netlink.exchange([addTable()]);
      return [await commit(side, getChain("c")), reply?.error?.code ?? "done"];
    },
    expected: ["EINVAL: get chain c", "EINVAL"],
  },
  "programs see each other's changes": {
    async run(side) {
      const other = await side.openProgram();
      const outcomes = [
        ...(await commitEach(side, addTable(), addChain("c"))),
        await commit(other, addRule("c", "theirs")),
        await commit(side, addRule("c", "ours")),
        await commit(other, deleteRule("c")),
      ];
      other.close();
      return [...outcomes, await list(side)];
    },
    expected: ["done", "done", "done", "done", "done", { c: [] }],
  },
};
