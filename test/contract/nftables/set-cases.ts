import { decode, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "../../../pkg/netlink/message.ts";
import { NFT_MSG_NEWSET, NFT_REG, NFT_SET, type SetElement, VERDICT } from "../../../pkg/netlink/nftables.ts";
import { commentUserdata } from "../../../pkg/nft/userdata.ts";
import type { Cases } from "./case.ts";
import {
  addChain,
  addElements,
  addRule,
  address,
  addSet,
  addTable,
  bytes,
  deleteElements,
  deleteRule,
  deleteSet,
  dumps,
  getElements,
  hooked,
  key,
  loadSource,
  lookup,
  pair,
  range,
  SETS,
  verdict,
} from "./requests.ts";
import { commit, commitEach, elementsIn, elementText, list, outcomeOf, type Side } from "./side.ts";

const EXCLUSIVE = { flags: NLM_F_CREATE | NLM_F_EXCL };
const made = (side: Side) =>
  commit(
    side,
    ...[addTable(), addChain("c"), addChain("f", hooked(2)), addSet("s", SETS.addresses), addSet("r", SETS.ranges)],
    ...[addSet("p", SETS.pairs), addSet("d", SETS.ports), addSet("m", SETS.verdicts)],
  );

/** The errno of each step, and the set's elements afterwards. */
async function elements(side: Side, set: string, ...steps: readonly ReturnType<typeof addElements>[]) {
  await made(side);
  const outcomes = await commitEach(side, ...steps);
  const messages = await side.netlink.dump(dumps.elements(1, "t", set));
  return [...outcomes.map((outcome) => outcome.split(":")[0] ?? ""), messages.flatMap(elementsIn).map(elementText)];
}

const unordered = (outcome: Awaited<ReturnType<typeof elements>>) =>
  outcome.map((part) => (Array.isArray(part) ? [...part].sort() : part));

export const setCases: Cases = {
  "creating a set twice fails with NLM_F_EXCL, NLM_F_REPLACE or another definition": {
    run: (side) =>
      commitEach(
        side,
        addSet("s", SETS.addresses),
        addTable(),
        addSet("s", SETS.addresses, { flags: 0 }),
        addSet("s", SETS.addresses),
        addSet("s", SETS.addresses),
        addSet("s", SETS.addresses, EXCLUSIVE),
        addSet("s", SETS.addresses, { flags: NLM_F_REPLACE }),
        addSet("s", SETS.ranges),
        addSet("s", { ...SETS.addresses, keyLength: 16 }),
      ),
    expected: [
      ...["ENOENT: add set s", "done", "ENOENT: add set s", "done", "done"],
      ...["EEXIST: add set s", "EOPNOTSUPP: add set s", "EEXIST: add set s", "EEXIST: add set s"],
    ],
  },
  "a set needs a key length, and data only for a map": {
    async run(side) {
      await commit(side, addTable());
      return commitEach(
        side,
        addSet("a", { ...SETS.addresses, keyLength: 0 }),
        addSet("b", { ...SETS.addresses, keyLength: 65 }),
        addSet("c", { ...SETS.addresses, keyLength: undefined }),
        addSet("d", { ...SETS.addresses, id: undefined }),
        addSet("e", { ...SETS.addresses, flags: NFT_SET.map }),
        addSet("f", { ...SETS.addresses, dataType: 13, dataLength: 2 }),
        addSet("g", { ...SETS.ports, dataLength: 0 }),
        addSet("h", { ...SETS.ports, dataLength: undefined }),
        addSet("i", SETS.verdicts),
        addSet("j", { ...SETS.addresses, flags: 0x1000 }),
        addSet("k", { ...SETS.addresses, flags: NFT_SET.constant | NFT_SET.timeout }),
        addSet("l", { ...SETS.addresses, keyType: 0xffff_ff00 }),
      );
    },
    expected: [
      ...["EINVAL: add set a", "EINVAL: add set b", "EINVAL: add set c", "EINVAL: add set d", "EINVAL: add set e"],
      ...["EINVAL: add set f", "EINVAL: add set g", "EINVAL: add set h", "done", "EOPNOTSUPP: add set j"],
      ...["EOPNOTSUPP: add set k", "EINVAL: add set l"],
    ],
  },
  "a concatenation with ranges needs the lengths of its fields": {
    async run(side) {
      await commit(side, addTable());
      const of = (...lengths: number[]) => ({
        ...SETS.pairs,
        description: { concat: lengths.map((length) => ({ length })) },
      });
      return commitEach(
        side,
        addSet("a", of(4, 4)),
        addSet("b", of()),
        addSet("c", of(8)),
        addSet("d", of(4, 4, 4)),
        addSet("e", of(4, 2)),
        addSet("f", { ...of(4, 4), flags: NFT_SET.interval }),
      );
    },
    expected: ["done", "EINVAL: add set b", "EINVAL: add set c", "EINVAL: add set d", "done", "EINVAL: add set f"],
  },
  "a dump of a set has its definition": {
    async run(side) {
      await commit(side, addTable(), addSet("p", { ...SETS.pairs, userdata: Uint8Array.of(7, 2, 65, 0) }));
      await commit(side, addSet("d", SETS.ports), addSet("m", SETS.verdicts));
      const sets = (await side.netlink.dump(dumps.sets(1, "t"))).map((each) => decode(NFT_MSG_NEWSET, each).attributes);
      return sets.map(({ name = "", flags = 0, keyType = 0, keyLength = 0, dataType = 0, dataLength = 0, ...more }) => [
        ...[name, flags, keyType, keyLength, dataType, dataLength, more.userdata?.join() ?? ""],
        (more.description?.concat ?? []).map(({ length = 0 }) => length),
      ]);
    },
    expected: [
      ["p", 0x84, (7 << 6) | 7, 8, 0, 0, "7,2,65,0", [4, 4]],
      ["d", 8, 7, 4, 13, 2, "", []],
      ["m", 8, 7, 4, 0xffff_ff00, 16, "", []],
    ],
  },
  "deleting a set removes its elements; it is busy while a rule looks it up": {
    async run(side) {
      await made(side);
      await commit(side, addElements("s", [key(1)]), addRule("c", "looks", [loadSource, lookup("s")]));
      const outcomes = await commitEach(
        side,
        deleteSet("x"),
        deleteSet("s"),
        addElements("s", [key(2)]),
        deleteRule("c"),
        deleteSet("s", { flags: NLM_F_REPLACE }),
        deleteSet("s"),
        deleteSet("s"),
      );
      return outcomes;
    },
    expected: [
      ...["ENOENT: delete set x", "EBUSY: delete set s", "done", "done"],
      ...["EBUSY: delete set s", "done", "ENOENT: delete set s"],
    ],
  },
  "one transaction may delete a rule and then its set": {
    async run(side) {
      await made(side);
      await commit(side, addRule("c", "looks", [loadSource, lookup("s")]));
      return [await commit(side, deleteSet("s"), deleteRule("c")), await commit(side, deleteRule("c"), deleteSet("s"))];
    },
    expected: ["EBUSY: delete set s", "done"],
  },
  "a constant set is busy while a rule looks it up": {
    async run(side) {
      await made(side);
      return commitEach(
        side,
        addSet("k", { ...SETS.addresses, flags: NFT_SET.constant }),
        addElements("k", [key(1)]),
        addRule("c", "looks", [loadSource, lookup("k")]),
        addElements("k", [key(2)]),
        deleteElements("k", [key(1)]),
      );
    },
    expected: ["done", "done", "done", "EBUSY: add element k", "EBUSY: delete element k"],
  },
  "adding an element twice fails only with NLM_F_EXCL": {
    run: async (side) =>
      unordered(
        await elements(
          side,
          "s",
          addElements("s", [key(1), key(2)]),
          addElements("s", [key(2), key(3)]),
          addElements("s", [key(4), key(2)], EXCLUSIVE),
          addElements("x", [key(1)]),
          addElements("s", undefined),
          deleteElements("s", [key(1)]),
          deleteElements("s", [key(3), key(1)]),
        ),
      ),
    expected: ["done", "done", "EEXIST", "ENOENT", "EINVAL", "done", "ENOENT", ["2", "3"]],
  },
  "adding an existing element keeps its comment": {
    run: (side) =>
      elements(
        side,
        "s",
        addElements("s", [{ ...key(1), userdata: commentUserdata("first") }]),
        addElements("s", [{ ...key(1), userdata: commentUserdata("second") }]),
      ),
    expected: ["done", "done", ['1 "first"']],
  },
  "one transaction may delete an element and add it again": {
    async run(side) {
      await made(side);
      await commit(side, addElements("s", [{ ...key(1), userdata: commentUserdata("first") }]));
      const second = addElements("s", [{ ...key(1), userdata: commentUserdata("second") }]);
      return [await commit(side, deleteElements("s", [key(1)]), second), await list(side)];
    },
    expected: ["done", { c: [], f: [], d: [], m: [], p: [], r: [], s: ['1 "second"'] }],
  },
  "deleting without elements flushes a set": {
    run: (side) => elements(side, "s", addElements("s", [key(1), key(2)]), deleteElements("s"), deleteElements("s")),
    expected: ["done", "done", "done", []],
  },
  "an element needs a key of the set's length, and neither data nor an interval end in a plain set": {
    run: (side) =>
      elements(
        side,
        "s",
        addElements("s", [{ key: bytes(1, 2, 3) }]),
        addElements("s", [{ key: bytes(1, 2, 3, 4, 5) }]),
        addElements("s", [{}]),
        addElements("s", [{ ...key(1), data: bytes(0, 80) }]),
        addElements("s", [{ ...key(1), flags: 1 }]),
        addElements("s", [{ ...key(1), flags: 8 }]),
        addElements("s", [{ ...key(1), keyEnd: address(2) }]),
        addElements("s", [{ key: verdict(VERDICT.accept) }]),
        deleteElements("s", [{ key: bytes(1, 2, 3) }]),
      ),
    expected: ["EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL", "EOPNOTSUPP", "EINVAL", "EINVAL", "EINVAL", []],
  },
  "a key of a map has one value": {
    run: async (side) => {
      const port = (last: number, to: number): SetElement => ({ ...key(last), data: bytes(0, to) });
      return unordered(
        await elements(
          side,
          "d",
          addElements("d", [port(1, 80), port(2, 81)]),
          addElements("d", [port(1, 80)]),
          addElements("d", [port(1, 81)]),
          addElements("d", [key(3)]),
          addElements("d", [{ ...key(3), data: bytes(1) }]),
          addElements("d", [{ ...key(3), data: verdict(VERDICT.accept) }]),
          deleteElements("d", [key(1)]),
          addElements("d", [port(1, 81)]),
        ),
      );
    },
    expected: ["done", "done", "EEXIST", "EINVAL", "EINVAL", "EINVAL", "done", "done", ["1 : 81", "2 : 81"]],
  },
  "an element of a verdict map needs a verdict or a regular chain": {
    run: async (side) => {
      const to = (last: number, code: number, chain?: string) =>
        addElements("m", [{ ...key(last), data: verdict(code, chain) }]);
      return unordered(
        await elements(
          side,
          "m",
          to(1, VERDICT.jump, "c"),
          to(2, VERDICT.accept),
          to(3, VERDICT.jump, "f"),
          to(4, VERDICT.jump, "x"),
          to(1, VERDICT.jump, "c"),
          to(1, VERDICT.goto, "c"),
          addElements("m", [{ ...key(5), data: bytes(1) }]),
        ),
      );
    },
    expected: ["done", "done", "EOPNOTSUPP", "ENOENT", "done", "EEXIST", "EINVAL", ["1 : c", "2 : 1"]],
  },
  "ranges may touch but not overlap": {
    run: (side) =>
      elements(
        side,
        "r",
        addElements("r", range(10, 20)),
        addElements("r", range(20, 30)),
        addElements("r", range(10, 20)),
        addElements("r", range(10, 20), EXCLUSIVE),
        addElements("r", range(12, 14)),
        addElements("r", range(5, 15)),
        addElements("r", range(5, 50)),
        addElements("r", range(40, 50)),
        addElements("r", [key(60)]),
        addElements("r", [key(70)]),
        addElements("r", [{ ...key(5), flags: 1 }]),
      ),
    expected: [
      ...["done", "done", "done", "EEXIST", "EEXIST", "EEXIST", "EEXIST", "done", "done", "EEXIST", "done"],
      ["60", "50 end", "40", "30 end", "20", "20 end", "10", "5 end"],
    ],
  },
  "deleting a range needs both of its ends": {
    run: (side) =>
      elements(
        side,
        "r",
        addElements("r", range(10, 20)),
        deleteElements("r", [key(20)]),
        deleteElements("r", [{ ...key(10), flags: 1 }]),
        deleteElements("r", [key(15)]),
        deleteElements("r", range(10, 20)),
        deleteElements("r", range(10, 20)),
      ),
    expected: ["done", "ENOENT", "ENOENT", "ENOENT", "done", "ENOENT", []],
  },
  "an interval end cannot have userdata": {
    run: (side) =>
      elements(side, "r", addElements("r", [key(1), { ...key(2), flags: 1, userdata: commentUserdata("x") }])),
    expected: ["EINVAL", []],
  },
  "a new range of a concatenation overlaps if one of its corners is taken": {
    run: async (side) =>
      unordered(
        await elements(
          side,
          "p",
          addElements("p", [pair(10, 10, 20, 20)]),
          addElements("p", [pair(10, 10, 20, 20)]),
          addElements("p", [pair(10, 10, 20, 20)], EXCLUSIVE),
          addElements("p", [pair(12, 12, 13, 13)]),
          addElements("p", [pair(5, 5, 15, 15)]),
          addElements("p", [pair(15, 30, 15, 40)]),
          addElements("p", [pair(60, 60, 50, 70)]),
          addElements("p", [{ key: address(1) }]),
          addElements("p", [{ ...pair(70, 70, 80, 80), flags: 1 }]),
          addElements("p", [{ key: pair(90, 91, 0, 0).key }]),
        ),
      ),
    expected: [
      ...["done", "done", "EEXIST", "EEXIST", "EEXIST", "done", "EINVAL", "EINVAL", "EINVAL", "done"],
      ["10-20", "30-40", "91"],
    ],
  },
  "deleting from a concatenation with ranges finds the range that contains the key": {
    run: (side) =>
      elements(
        side,
        "p",
        addElements("p", [pair(10, 10, 20, 20)]),
        deleteElements("p", [pair(5, 5, 6, 6)]),
        deleteElements("p", [pair(12, 12, 13, 13)]),
        deleteElements("p", [pair(10, 10, 20, 20)]),
      ),
    expected: ["done", "ENOENT", "done", "ENOENT", []],
  },
  "a set with a size rejects more elements": {
    async run(side) {
      await commit(side, addTable(), addSet("s", { ...SETS.addresses, description: { size: 2 } }));
      return commitEach(
        side,
        addElements("s", [key(1), key(2)]),
        addElements("s", [key(2)]),
        addElements("s", [key(3)]),
      );
    },
    expected: ["done", "done", "ENFILE: add element s"],
  },
  "getting elements returns each, or ENOENT": {
    async run(side) {
      await made(side);
      await commit(side, addElements("s", [key(1), key(2), key(3)]), addElements("p", [pair(10, 10, 20, 20)]));
      const ask = async (set: string, ...wanted: SetElement[]) => {
        const [reply] = await side.netlink.exchange([getElements(set, wanted)]);
        if (reply?.error !== undefined) throw reply.error;
        return (reply?.messages ?? []).flatMap(elementsIn).map(elementText);
      };
      return [
        await ask("s", key(1), key(3)),
        await outcomeOf(ask("s", key(1), key(4))),
        await outcomeOf(ask("x", key(1))),
        await ask("p", { key: pair(12, 12, 0, 0).key }),
      ];
    },
    expected: [["1", "3"], "ENOENT: get element s", "ENOENT: get element x", ["10-20"]],
  },
  "dumping sets or elements of an absent table or set is ENOENT": {
    async run(side) {
      await commit(side, addTable());
      return [
        await outcomeOf(side.netlink.dump(dumps.sets(1, "x"))),
        await outcomeOf(side.netlink.dump(dumps.elements(1, "x", "s"))),
        await outcomeOf(side.netlink.dump(dumps.elements(1, "t", "s"))),
        (await side.netlink.dump(dumps.sets(1, "t"))).length,
      ];
    },
    expected: ["ENOENT: list sets", "ENOENT: list elements", "ENOENT: list elements", 0],
  },
  "a dump of a thousand elements is complete": {
    async run(side) {
      await made(side);
      const all = Array.from({ length: 1000 }, (_, at): SetElement => ({ key: bytes(10, 1, at >> 8, at & 255) }));
      const parts = [0, 200, 400, 600, 800].map((at) => addElements("s", all.slice(at, at + 200)));
      const outcome = await commit(side, ...parts, addRule("c", "x", [loadSource, lookup("s")]));
      const dumped = (await side.netlink.dump(dumps.elements(1, "t", "s"))).flatMap(elementsIn);
      return [outcome, new Set(dumped.map(({ key: { value } = {} }) => value?.join())).size, NFT_REG.r1];
    },
    expected: ["done", 1000, 1],
  },
};
