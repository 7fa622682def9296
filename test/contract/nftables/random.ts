/** Random transactions, valid or not, over few names, so that most of them refer to existing objects. */
import fc from "fast-check";
import { NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, type Request } from "../../../pkg/netlink/message.ts";
import {
  type Expression,
  NF_INET_HOOK,
  NFPROTO,
  NFT_CMP,
  NFT_META,
  NFT_NAT,
  NFT_REG,
  NFT_SET,
  type SetElement,
  VERDICT,
} from "../../../pkg/netlink/nftables.ts";
import { commentUserdata } from "../../../pkg/nft/userdata.ts";
import {
  addChain,
  addElements,
  addRule,
  addSet,
  addTable,
  bytes,
  decide,
  deleteChain,
  deleteElements,
  deleteRule,
  deleteSet,
  deleteTable,
  hooked,
  jump,
  key,
  loadSource,
  lookup,
  pair,
  range,
  SETS,
  TABLE,
  verdict,
} from "./requests.ts";

/** The handles of a chain's rules before the transaction. */
export type Handles = (chain: string) => readonly bigint[];
/** One request for both sides, whose rules may have different handles. */
export type RandomRequest = (handles: Handles) => Request;

const CHAINS = ["a", "b", "c", "f", "n"];
/** One of `usual` nine times out of ten, else one of `unusual`. */
const mostly = <T>(usual: readonly T[], unusual: readonly T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...usual) }, { weight: 1, arbitrary: fc.constantFrom(...unusual) });
const chain = mostly(CHAINS, ["absent"]);
const set = mostly(Object.keys(SETS), ["absent"]) as fc.Arbitrary<keyof typeof SETS>;
const newFlags = mostly([NLM_F_CREATE], [NLM_F_CREATE | NLM_F_EXCL, NLM_F_CREATE | NLM_F_REPLACE, 0]);
const ruleFlags = mostly([NLM_F_CREATE, NLM_F_CREATE | NLM_F_APPEND], [NLM_F_REPLACE, 0]);
const deleteFlags = mostly([0], [NLM_F_REPLACE]);
const small = fc.integer({ min: 1, max: 5 });
const comment = fc.constantFrom("x", "y");

const hook = fc.record({
  hook: mostly(Object.values(NF_INET_HOOK), [9]),
  type: mostly(["filter", "nat"], ["route", "other"]),
  priority: mostly([0, 100], [-300]),
});

const register = mostly<number>([NFT_REG.r1], [NFT_REG.r2, 0, 8, 9, 12, 23, 99]);
const value = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 17 }).map((all) => bytes(...all));
const anyVerdict = fc.oneof(
  fc.constantFrom(VERDICT.accept, VERDICT.drop, VERDICT.return, 77).map((code) => verdict(code)),
  fc.tuple(fc.constantFrom(VERDICT.jump, VERDICT.goto), chain).map(([code, to]) => verdict(code, to)),
);

const nfproto = fc.constantFrom(NFPROTO.ip, NFPROTO.ip6);
const anyExpression: fc.Arbitrary<Expression> = fc.oneof(
  fc
    .record({ dreg: register, data: fc.oneof(value, anyVerdict) })
    .map((data) => ({ kind: "immediate", data }) as const),
  fc
    .record({ sreg: register, op: fc.constantFrom(NFT_CMP.eq, NFT_CMP.neq, NFT_CMP.gte, 9), data: value })
    .map((data) => ({ kind: "cmp", data }) as const),
  fc
    .record({ sreg: register, dreg: register, length: small, mask: value, xor: value })
    .map((data) => ({ kind: "bitwise", data }) as const),
  fc
    .record({ set, sreg: register, dreg: fc.option(register, { nil: undefined }), flags: fc.constantFrom(0, 0, 1, 2) })
    // Kernels differ in whether a map lookup without a register is allowed.
    .filter((data) => data.dreg !== undefined || mapRegister(data.set) === undefined)
    .map((data) => ({ kind: "lookup", data }) as const),
  fc
    .record({ dreg: register, base: fc.constantFrom(0, 1, 2), offset: small, length: fc.constantFrom(1, 4, 16, 0) })
    .map((data) => ({ kind: "payload", data }) as const),
  fc
    .record({ dreg: register, key: fc.constantFrom(...Object.values(NFT_META)) })
    .map((data) => ({ kind: "meta", data }) as const),
  fc.record({ sreg: register }).map((data) => ({ kind: "meta", data: { ...data, key: NFT_META.mark } }) as const),
  fc
    .record({ dreg: register, key: fc.constantFrom(0, 1, 2), direction: fc.constantFrom(undefined, undefined, 0) })
    .map((data) => ({ kind: "ct", data }) as const),
  fc
    .record({ dreg: register, result: fc.constantFrom(1, 2, 3), flags: fc.constantFrom(0, 1, 2, 3) })
    .map((data) => ({ kind: "fib", data }) as const),
  fc
    .record({ type: fc.constantFrom(...Object.values(NFT_NAT)), family: nfproto, addressMin: register })
    .map((data) => ({ kind: "nat", data }) as const),
  fc.constantFrom(0, 16).map((flags) => ({ kind: "masq", data: flags === 0 ? {} : { flags } }) as const),
  fc.constant({ kind: "counter", data: {} } as const),
);

/** Mostly valid ones, so that later requests find objects. */
const expressions: fc.Arbitrary<readonly Expression[]> = fc.oneof(
  { weight: 3, arbitrary: chain.map((to) => [jump(to)]) },
  { weight: 2, arbitrary: set.map((name) => [loadSource, loadMore, lookup(name, mapRegister(name))]) },
  { weight: 1, arbitrary: fc.constant([decide(VERDICT.accept)]) },
  { weight: 2, arbitrary: fc.array(anyExpression, { maxLength: 2 }).map((all) => [loadSource, ...all]) },
);
/** The second word of a pair. */
const loadMore: Expression = { kind: "payload", data: { dreg: 9, base: 1, offset: 16, length: 4 } };

function mapRegister(name: string): number | undefined {
  if (name === "verdicts") return NFT_REG.verdict;
  return name === "ports" ? NFT_REG.r1 : undefined;
}

const userdata = fc.constantFrom(undefined, undefined, commentUserdata("x"));
const ELEMENTS: Readonly<Record<keyof typeof SETS, fc.Arbitrary<readonly SetElement[]>>> = {
  addresses: fc.tuple(small, userdata).map(([last, kept]) => [{ ...key(last), userdata: kept }]),
  // Whole ranges only: whether the kernel accepts one end alone depends on earlier requests.
  ranges: fc.tuple(small, small).map(([first, length]) => range(first, first + length)),
  pairs: fc
    .tuple(small, small, fc.constantFrom(-1, 0, 0, 1, 3), fc.constantFrom(0, 0, 1, 3))
    .map(([a, b, c, d]) => [pair(a, b, a + c, b + d)]),
  ports: fc.tuple(small, fc.constantFrom(80, 81)).map(([last, port]) => [{ ...key(last), data: bytes(0, port) }]),
  verdicts: fc.tuple(small, anyVerdict).map(([last, data]) => [{ ...key(last), data }]),
};
const wildElements = fc.constantFrom<readonly SetElement[]>(
  [{}],
  [{ key: bytes(1, 2, 3) }],
  [{ ...key(1), data: bytes(1) }],
  [{ ...key(1), flags: 1 }],
  [{ ...key(1), keyEnd: key(2).key }],
  [key(1), key(1)],
);
const someElements = (name: keyof typeof SETS) =>
  name === "ranges"
    ? ELEMENTS.ranges
    : fc.oneof({ weight: 15, arbitrary: ELEMENTS[name] ?? wildElements }, { weight: 1, arbitrary: wildElements });

const fixed =
  (request: Request): RandomRequest =>
  () =>
    request;
const rank = fc.nat({ max: 2 });
const handleAt = (handles: readonly bigint[], at: number) => handles[at] ?? 4711n;

/** `near` names the attribute that refers to an existing rule, if any. */
const ruleAddition = (near: fc.Arbitrary<"" | "position" | "handle">): fc.Arbitrary<RandomRequest> =>
  fc
    .tuple(chain, comment, expressions, ruleFlags, near, rank)
    .map(([name, text, all, flags, beside, at]) => (handles) => {
      const handle = handleAt(handles(name), at);
      const place = beside === "" ? {} : { [beside]: handle };
      return addRule(name, text, all, place, { flags });
    });

const ruleRemoval: fc.Arbitrary<RandomRequest> = fc.tuple(chain, rank, fc.constantFrom("one", "one", "one", "all")).map(
  ([name, at, extent]) =>
    (handles) =>
      deleteRule(name, extent === "all" ? undefined : handleAt(handles(name), at)),
);

const otherRequest: fc.Arbitrary<RandomRequest> = fc.oneof(
  { weight: 1, arbitrary: fc.tuple(newFlags, fc.constantFrom(undefined, 0, 1, 0x80)).map(tableRequest) },
  { weight: 1, arbitrary: mostly(["absent"], [TABLE]).map((name) => fixed(deleteTable(name))) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(chain, newFlags, mostly([false, false, true], [true]), hook, mostly([undefined, VERDICT.drop], [5]))
      .map(([name, flags, isBase, base, policy]) => {
        const at = isBase ? hooked(base.hook, base.type, base.priority) : {};
        return fixed(addChain(name, { ...at, ...(policy === undefined ? {} : { policy }) }, { flags }));
      }),
  },
  { weight: 3, arbitrary: fc.tuple(chain, deleteFlags).map(([name, flags]) => fixed(deleteChain(name, { flags }))) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(set, set, newFlags, fc.constantFrom(0, 0, 0, NFT_SET.constant))
      .map(([name, kind, flags, constant]) => {
        const like = { ...(SETS[kind] ?? SETS.addresses) };
        const kindFlags = "flags" in like ? like.flags : 0;
        return fixed(addSet(name, { ...like, flags: kindFlags | constant }, { flags }));
      }),
  },
  { weight: 2, arbitrary: fc.tuple(set, deleteFlags).map(([name, flags]) => fixed(deleteSet(name, { flags }))) },
  {
    weight: 8,
    arbitrary: set.chain((name) =>
      fc
        .tuple(fc.array(someElements(name), { minLength: 1, maxLength: 3 }), newFlags)
        .map(([all, flags]) => fixed(addElements(name, all.flat(), { flags }))),
    ),
  },
  {
    weight: 5,
    arbitrary: set.chain((name) => someElements(name).map((all) => fixed(deleteElements(name, all.map(bare))))),
  },
  { weight: 1, arbitrary: set.map((name) => fixed(deleteElements(name))) },
);

function tableRequest([flags, tableFlags]: [number, number | undefined]): RandomRequest {
  return fixed(addTable(TABLE, tableFlags === undefined ? {} : { flags: tableFlags }, { flags }));
}

function bare({ data: _data, userdata: _userdata, ...element }: SetElement): SetElement {
  return element;
}

/** Creates most of the names. */
export const START: readonly Request[] = [
  addTable(),
  ...["a", "b", "c"].map((name) => addChain(name)),
  addChain("f", hooked(NF_INET_HOOK.forward)),
  addChain("n", hooked(NF_INET_HOOK.postrouting, "nat", 100)),
  ...Object.entries(SETS).map(([name, kind]) => addSet(name, kind)),
  ...["a", "b"].flatMap((name) => [addRule(name, "1"), addRule(name, "2")]),
  addElements("addresses", [1, 2, 3].map(key)),
  addElements("ranges", [...range(1, 3), ...range(4, 6)]),
  addElements("pairs", [pair(1, 1, 3, 3), pair(4, 4, 5, 5)]),
  addElements("ports", [{ ...key(1), data: bytes(0, 80) }]),
  addElements("verdicts", [{ ...key(1), data: verdict(VERDICT.jump, "c") }]),
];

const transactionOf = (rules: fc.Arbitrary<RandomRequest>) =>
  fc.array(fc.oneof({ weight: 1, arbitrary: rules }, { weight: 3, arbitrary: otherRequest }), {
    minLength: 1,
    maxLength: 3,
  });

/**
 * A sequence of transactions. None both deletes rules and uses positions: the kernel accepts a rule that the same
 * transaction has deleted as a position, the fake does not.
 */
export const randomHistory = fc.array(
  fc.oneof(
    transactionOf(fc.oneof(ruleAddition(fc.constant("" as const)), ruleRemoval)),
    transactionOf(ruleAddition(mostly(["", "position"], ["handle"]))),
  ),
  { minLength: 1, maxLength: 12 },
);
export { CHAINS };
