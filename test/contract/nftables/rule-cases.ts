import {
  decode,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_ECHO,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from "../../../pkg/netlink/message.ts";
import { NFT_MSG_NEWRULE } from "../../../pkg/netlink/nftables.ts";
import { readComment } from "../../../pkg/nft/userdata.ts";
import type { Cases } from "./case.ts";
import { addChain, addRule, addTable, deleteRule, dumps, getRule } from "./requests.ts";
import { commit, commitEach, handlesOf, list, outcomeOf, type Side } from "./side.ts";

const HEAD = { flags: NLM_F_CREATE };
const made = (side: Side) =>
  commit(side, addTable(), addChain("c"), addRule("c", "1"), addRule("c", "2"), addRule("c", "3"));

export const ruleCases: Cases = {
  "creating a rule needs a chain and NLM_F_CREATE": {
    run: (side) =>
      commitEach(
        side,
        addRule("c", "1"),
        addTable(),
        addRule("c", "1"),
        addChain("c"),
        addRule("c", "1", [], {}, { flags: 0 }),
        addRule("c", "1", [], { chain: undefined }),
        addRule("c", "1", [], {}, { flags: NLM_F_CREATE | NLM_F_REPLACE }),
        addRule("c", "1"),
      ),
    expected: [
      ...["ENOENT: add rule c 1", "done", "ENOENT: add rule c 1", "done", "EINVAL: add rule c 1"],
      ...["EINVAL: add rule c 1", "EINVAL: add rule c 1", "done"],
    ],
  },
  "a rule is appended, inserted at the head, or placed after or before another": {
    async run(side) {
      await made(side);
      const [, second = 0n] = await handlesOf(side, "c");
      const outcomes = await commitEach(
        side,
        addRule("c", "end"),
        addRule("c", "head", [], {}, HEAD),
        addRule("c", "behind 2", [], { position: second }),
        addRule("c", "before 2", [], { position: second }, HEAD),
        addRule("c", "nowhere", [], { position: 4711n }),
      );
      return [...outcomes, await list(side)];
    },
    expected: [
      ...["done", "done", "done", "done", "ENOENT: add rule c nowhere"],
      { c: ["head", "1", "before 2", "2", "behind 2", "3", "end"] },
    ],
  },
  "replacing a rule keeps its place and its handle": {
    async run(side) {
      await made(side);
      const [, second = 0n] = await handlesOf(side, "c");
      const replace = (flags: number, handle = second) => addRule("c", "new", [], { handle }, { flags });
      const outcomes = await commitEach(
        side,
        replace(NLM_F_CREATE),
        replace(NLM_F_EXCL | NLM_F_REPLACE),
        replace(NLM_F_REPLACE, 4711n),
        replace(NLM_F_REPLACE),
        replace(NLM_F_REPLACE),
      );
      return [...outcomes, (await handlesOf(side, "c")).includes(second), await list(side)];
    },
    expected: [
      ...["EOPNOTSUPP: add rule c new", "EEXIST: add rule c new", "ENOENT: add rule c new", "done"],
      ...["done", true, { c: ["1", "new", "3"] }],
    ],
  },
  "deleting a rule twice is ENOENT": {
    async run(side) {
      await made(side);
      const [, second = 0n] = await handlesOf(side, "c");
      const outcomes = await commitEach(
        side,
        deleteRule("c", second),
        deleteRule("c", second),
        deleteRule("d", second),
      );
      return [...outcomes.map((outcome) => outcome.split(":")[0] ?? ""), await list(side)];
    },
    expected: ["done", "ENOENT", "ENOENT", { c: ["1", "3"] }],
  },
  "deleting without a handle flushes a chain, without a chain a table": {
    async run(side) {
      await made(side);
      await commit(side, addChain("d"), addRule("d", "4"), addChain("e"), addRule("e", "5"));
      const chain = await commit(side, deleteRule("c"));
      const first = await list(side);
      return [chain, first, await commit(side, deleteRule(undefined)), await list(side)];
    },
    expected: ["done", { c: [], d: ["4"], e: ["5"] }, "done", { c: [], d: [], e: [] }],
  },
  "NLM_F_ECHO returns the new rules with their handles": {
    async run(side) {
      await commit(side, addTable(), addChain("c"));
      const flags = NLM_F_CREATE | NLM_F_APPEND | NLM_F_ECHO;
      const echoes = await side.netlink.commit([
        addRule("c", "1", [], {}, { flags }),
        addRule("c", "2"),
        addRule("c", "3", [], {}, { flags }),
      ]);
      const rules = echoes
        .filter(({ type }) => type === NFT_MSG_NEWRULE.type)
        .map((message) => decode(NFT_MSG_NEWRULE, message).attributes);
      const handles = await handlesOf(side, "c");
      return rules.map(({ userdata, handle = 0n }) => [readComment(userdata) ?? "", handles.indexOf(handle)]);
    },
    expected: [
      ["1", 0],
      ["3", 2],
    ],
  },
  "rules are dumped for a chain, a table or a family; an absent one has none": {
    async run(side) {
      await made(side);
      await commit(side, addChain("d"), addRule("d", "4"), addTable("u"));
      const count = async (...place: [string?, string?]) => (await side.netlink.dump(dumps.rules(1, ...place))).length;
      return [
        await count("t", "c"),
        await count("t"),
        await count(),
        await count("u"),
        await count("t", "x"),
        await count("x"),
      ];
    },
    expected: [3, 4, 4, 0, 0, 0],
  },
  "getting a rule returns it, or ENOENT": {
    async run(side) {
      await made(side);
      const [, second = 0n] = await handlesOf(side, "c");
      const ask = async (chain: string, handle: bigint) => {
        const [reply] = await side.netlink.exchange([getRule(chain, handle)]);
        if (reply?.error !== undefined) throw reply.error;
        return (reply?.messages ?? []).map((message) => decode(NFT_MSG_NEWRULE, message).attributes.handle === handle);
      };
      return [await ask("c", second), await outcomeOf(ask("c", 4711n)), await outcomeOf(ask("x", 4711n))];
    },
    expected: [[true], "ENOENT: get rule 4711", "ENOENT: get rule 4711"],
  },
  "a rule's userdata has at most 256 bytes": {
    async run(side) {
      await made(side);
      const keeping = (length: number) => addRule("c", "x", [], { userdata: new Uint8Array(length) });
      return commitEach(side, keeping(256), keeping(257));
    },
    expected: ["done", "ERANGE: add rule c x"],
  },
};
