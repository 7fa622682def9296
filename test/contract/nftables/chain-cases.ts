import { decode, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "../../../pkg/netlink/message.ts";
import { NF_INET_HOOK, NFPROTO, NFT_MSG_NEWCHAIN, VERDICT } from "../../../pkg/netlink/nftables.ts";
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
  getChain,
  hooked,
  jump,
  key,
  SETS,
  verdict,
} from "./requests.ts";
import { commit, commitEach, list, outcomeOf } from "./side.ts";

const { forward, output, postrouting } = NF_INET_HOOK;

export const chainCases: Cases = {
  "creating a chain needs a table, and fails the second time only with NLM_F_EXCL or NLM_F_REPLACE": {
    run: (side) =>
      commitEach(
        side,
        addChain("c"),
        addTable(),
        addChain("c"),
        addChain("c"),
        addChain("c", {}, { flags: NLM_F_CREATE | NLM_F_EXCL }),
        addChain("c", {}, { flags: NLM_F_REPLACE }),
        addChain("c", { name: undefined }),
      ),
    expected: [
      ...["ENOENT: add chain c", "done", "done", "done"],
      ...["EEXIST: add chain c", "EOPNOTSUPP: add chain c", "EINVAL: add chain c"],
    ],
  },
  "a base chain needs a type of its family and a hook of that type": {
    async run(side) {
      await commit(side, addTable(), addTable("t", {}, { family: NFPROTO.bridge }));
      return commitEach(
        side,
        addChain("a", hooked(forward)),
        addChain("b", hooked(forward, "nat")),
        addChain("c", hooked(postrouting, "nat", 100)),
        addChain("d", hooked(postrouting, "nat", -300)),
        addChain("e", hooked(output, "route")),
        addChain("f", hooked(forward, "route")),
        addChain("g", hooked(forward, "other")),
        addChain("h", hooked(postrouting, "nat"), { family: NFPROTO.bridge }),
        addChain("i", hooked(forward, "filter", -200), { family: NFPROTO.bridge }),
        addChain("j", hooked(7)),
        addChain("k", { hook: { number: forward } }),
      );
    },
    expected: [
      ...["done", "EOPNOTSUPP: add chain b", "done", "EOPNOTSUPP: add chain d", "done", "EOPNOTSUPP: add chain f"],
      ...["ENOENT: add chain g", "ENOENT: add chain h", "done", "EOPNOTSUPP: add chain j", "ENOENT: add chain k"],
    ],
  },
  "a base chain's policy may change, its hook may not": {
    async run(side) {
      await commit(side, addTable(), addChain("f", hooked(forward)), addChain("c"));
      const outcomes = await commitEach(
        side,
        addChain("c", { policy: VERDICT.drop }),
        addChain("d", { policy: VERDICT.drop }),
        addChain("f", { policy: 5 }),
        addChain("f", { policy: VERDICT.drop }),
        addChain("f", hooked(output)),
        addChain("f", hooked(forward, "filter", 1)),
        addChain("f", hooked(output, "route")),
        addChain("f", { ...hooked(forward), type: "nat" }),
        addChain("c", { hook: { number: forward, priority: 0 } }),
      );
      const [message] = (await side.netlink.exchange([getChain("f")]))[0]?.messages ?? [];
      const { hook, policy = -1, type = "", use = -1 } = message ? decode(NFT_MSG_NEWCHAIN, message).attributes : {};
      return [...outcomes, [hook?.number ?? -1, hook?.priority ?? -1, policy, type, use]];
    },
    expected: [
      ...["EOPNOTSUPP: add chain c", "EOPNOTSUPP: add chain d", "EINVAL: add chain f", "done"],
      ...["EOPNOTSUPP: add chain f", "EOPNOTSUPP: add chain f", "EOPNOTSUPP: add chain f"],
      ...["EEXIST: add chain f", "EEXIST: add chain c"],
      [forward, 0, VERDICT.drop, "filter", 0],
    ],
  },
  "deleting a chain removes its rules; it is busy while a rule or an element jumps to it": {
    async run(side) {
      await commit(
        side,
        ...[addTable(), addChain("a"), addChain("b"), addChain("c"), addSet("m", SETS.verdicts)],
        ...[addRule("a", "to b", [jump("b")]), addRule("b", "own")],
        addElements("m", [{ ...key(1), data: verdict(VERDICT.jump, "c") }]),
      );
      const outcomes = await commitEach(
        side,
        deleteChain("x"),
        deleteChain("b"),
        deleteChain("c"),
        deleteRule("a"),
        deleteElements("m"),
        deleteChain("b", { flags: NLM_F_REPLACE }),
        deleteChain("b"),
        deleteChain("c"),
      );
      return [...outcomes, await list(side)];
    },
    expected: [
      ...["ENOENT: delete chain x", "EBUSY: delete chain b", "EBUSY: delete chain c", "done", "done"],
      ...["EBUSY: delete chain b", "done", "done", { a: [], m: [] }],
    ],
  },
  "a chain's use counts its rules and the jumps to it": {
    async run(side) {
      await commit(
        side,
        ...[addTable(), addChain("a"), addChain("b"), addSet("m", SETS.verdicts)],
        ...[addRule("a", "1", [jump("b")]), addRule("a", "2", [jump("b")]), addRule("b", "own")],
        addElements("m", [{ ...key(1), data: verdict(VERDICT.goto, "b") }]),
      );
      const replies = await side.netlink.exchange([getChain("a"), getChain("b")]);
      return replies.flatMap(({ messages }) =>
        messages.map((message) => decode(NFT_MSG_NEWCHAIN, message).attributes.use ?? -1),
      );
    },
    expected: [2, 4],
  },
  "getting a chain returns it, or ENOENT": {
    async run(side) {
      const absent = await outcomeOf(single(getChain("c")));
      await commit(side, addTable(), addChain("c"));
      const other = await outcomeOf(single(getChain("d")));
      return [absent, other, await outcomeOf(single(getChain("c")))];
      async function single(request: ReturnType<typeof getChain>) {
        const [reply] = await side.netlink.exchange([request]);
        if (reply?.error !== undefined) throw reply.error;
        return reply?.messages.length;
      }
    },
    expected: ["ENOENT: get chain c", "ENOENT: get chain d", "done"],
  },
};
