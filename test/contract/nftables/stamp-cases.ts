import { parseAddress } from "../../../pkg/ip/address.ts";
import { decode, NLM_F_CREATE, type Request, request } from "../../../pkg/netlink/message.ts";
import { NFPROTO, NFT_MSG_DELRULE, NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE } from "../../../pkg/netlink/nftables.ts";
import { accept, counter, matchSourceInSet } from "../../../pkg/nft/expressions.ts";
import type { AddressSet } from "../../../pkg/nft/set.ts";
import { stampedParts, stampQuestions } from "../../../pkg/nft/stamp.ts";
import {
  addElements,
  addRules,
  addWholeChain,
  addWholeSet,
  type Chain,
  createTable,
  deleteTable,
  flushRulesOf,
  removeChain,
  removeSet,
  replaceRules,
  replaceTable,
  type Table,
} from "../../../pkg/nft/table.ts";
import { stampedUserdata } from "../../../pkg/nft/userdata.ts";
import type { Cases } from "./case.ts";
import { TABLE } from "./requests.ts";
import { commit, type Side } from "./side.ts";

const LAYOUT = 0x89ab_cdef;
const pods: AddressSet = { kind: "addresses", name: "pods", comment: "pods", family: 4, elements: [] };
const spare: AddressSet = { ...pods, name: "spare" };
const rule = (comment: string) => ({ comment, statements: [counter, accept] });
const filter: Chain = {
  ...{ name: "forward", type: "filter", hook: "forward", priority: 0 },
  rules: [
    { comment: "pods", statements: [matchSourceInSet(4, "pods"), counter, accept] },
    ...["second", "third"].map(rule),
  ],
};
const regular: Chain = { name: "regular", rules: [rule("fourth")] };
const table: Table = {
  ...{ family: "inet", name: TABLE, comment: "a stamped table", sets: [pods, spare], chains: [filter, regular] },
  stamp: { layout: LAYOUT, parts: [7, 255] },
};

async function partsOf({ netlink }: Side, wanted = table): Promise<string> {
  const replies = await netlink.exchange(stampQuestions(wanted));
  const parts = stampedParts(
    wanted,
    replies.flatMap(({ messages }) => messages),
  );
  return parts?.join() ?? "none";
}

/** Deletes the rule at this place. */
async function deleteRuleAt({ netlink }: Side, at: number): Promise<void> {
  const [, dump] = await netlink.exchange(stampQuestions(table));
  const message = dump?.messages[at];
  if (message === undefined) throw new Error(`no rule ${at}`);
  const { attributes } = decode(NFT_MSG_NEWRULE, message);
  const { table: name, chain, handle } = attributes;
  const object = { kind: "rule", key: "" } as const;
  await netlink.commit([
    request(NFT_MSG_DELRULE, object, "delete rule", { family: NFPROTO.inet }, { table: name, chain, handle }),
  ]);
}

/** The stamp of the table before and after a change. */
async function around(side: Side, change: () => Promise<unknown>): Promise<string> {
  await commit(side, ...replaceTable(table));
  const before = await partsOf(side);
  await change();
  return `${before}; ${await partsOf(side)}`;
}

const update = (attributes: { readonly flags?: number; readonly userdata?: Uint8Array }): Request =>
  request(
    NFT_MSG_NEWTABLE,
    { kind: "table", key: "" },
    "update table",
    { family: NFPROTO.inet },
    { name: TABLE, flags: 0, ...attributes },
    NLM_F_CREATE,
  );

export const stampCases: Cases = {
  "a stamp is read back; without a table, or with another layout, there is none": {
    async run(side) {
      const missing = await partsOf(side);
      await commit(side, ...createTable(table));
      const other = { ...table, stamp: { layout: LAYOUT + 1 } };
      return [missing, await partsOf(side), await partsOf(side, other)];
    },
    expected: ["none", "7,255", "none"],
  },
  "a table that replaces another one in one transaction has an intact stamp": {
    async run(side) {
      await commit(side, ...createTable({ ...table, sets: [pods] }));
      const again = await commit(side, deleteTable(table), ...createTable(table));
      return [again, await partsOf(side)];
    },
    expected: ["done", "7,255"],
  },
  "elements do not change the stamp": {
    run: (side) =>
      around(side, () =>
        commit(side, ...addElements(table, { ...pods, elements: [{ address: parseAddress("10.0.0.1") }] })),
      ),
    expected: "7,255; 7,255",
  },
  "each deleted rule shows": {
    async run(side) {
      const outcomes: string[] = [];
      for (const at of [0, 1, 2, 3]) outcomes.push(await around(side, () => deleteRuleAt(side, at)));
      return outcomes;
    },
    expected: Array.from({ length: 4 }, () => "7,255; none"),
  },
  "a rule that is deleted and added again shows": {
    run: (side) =>
      around(side, async () => {
        await deleteRuleAt(side, 3);
        await commit(side, ...addRules(table, regular));
      }),
    expected: "7,255; none",
  },
  "an additional rule shows, at the end and in an empty chain": {
    async run(side) {
      const extra: Chain = { name: "extra", rules: [] };
      return [
        await around(side, () => commit(side, ...addRules(table, { ...regular, rules: [rule("fifth")] }))),
        await around(side, () => commit(side, ...addWholeChain(table, extra))),
      ];
    },
    expected: ["7,255; none", "7,255; none"],
  },
  "emptied chains and replaced rules show": {
    async run(side) {
      const names = new Set(table.chains.map(({ name }) => name));
      return [
        await around(side, () => commit(side, flushRulesOf(table, "forward"))),
        await around(side, () => commit(side, flushRulesOf(table, "regular"))),
        await around(side, () => commit(side, ...replaceRules(table, names))),
      ];
    },
    expected: ["7,255; none", "7,255; none", "7,255; none"],
  },
  "a deleted chain, a deleted set and an additional set show": {
    async run(side) {
      return [
        await around(side, () => commit(side, removeChain(table, "regular"))),
        await around(side, () => commit(side, removeSet(table, "spare"))),
        await around(side, () => commit(side, ...addWholeSet(table, { ...spare, name: "more" }, 9))),
      ];
    },
    expected: ["7,255; none", "7,255; none", "7,255; none"],
  },
  "a dormant table shows": {
    run: (side) => around(side, () => commit(side, update({ flags: 1 }))),
    expected: "7,255; none",
  },
  "an existing table keeps its user data": {
    run: (side) =>
      around(side, () =>
        commit(side, update({ userdata: stampedUserdata("x", { layout: 1, objects: 4, rules: 4, parts: [] }) })),
      ),
    expected: "7,255; 7,255",
  },
};
