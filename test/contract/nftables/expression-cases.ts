import {
  type Expression,
  NF_INET_HOOK,
  NFPROTO,
  NFT_CMP,
  NFT_FIB_FLAG,
  NFT_META,
  NFT_NAT,
  NFT_REG,
  VERDICT,
} from "../../../pkg/netlink/nftables.ts";
import type { Cases } from "./case.ts";
import {
  addChain,
  addElements,
  addRule,
  addSet,
  addTable,
  bytes,
  decide,
  hooked,
  jump,
  key,
  loadSource,
  lookup,
  SETS,
  verdict,
} from "./requests.ts";
import { commit, commitEach, type Side } from "./side.ts";

const { r1, r2 } = NFT_REG;
const cmp = (data: number[], op: number = NFT_CMP.eq, sreg: number = r1): Expression => ({
  kind: "cmp",
  data: { sreg, op, data: bytes(...data) },
});
const mask = (length: number, maskLength = length, xorLength = length): Expression => ({
  kind: "bitwise",
  data: {
    ...{ sreg: r1, dreg: r1, length },
    ...{ mask: bytes(...Array<number>(maskLength).fill(255)), xor: bytes(...Array<number>(xorLength).fill(0)) },
  },
});
const immediate = (dreg: number, ...value: number[]): Expression => ({
  kind: "immediate",
  data: { dreg, data: bytes(...value) },
});
const dnat = (more: object = {}): Expression => ({
  kind: "nat",
  data: { type: NFT_NAT.dnat, family: NFPROTO.ip, addressMin: r1, ...more },
});
const masquerade: Expression = { kind: "masq", data: {} };

const made = (side: Side) =>
  commit(
    side,
    ...[addTable(), addChain("c"), addChain("d"), addChain("f", hooked(NF_INET_HOOK.forward))],
    ...[addChain("pre", hooked(NF_INET_HOOK.prerouting, "nat", -100))],
    ...[addChain("post", hooked(NF_INET_HOOK.postrouting, "nat", 100))],
    ...[addSet("s", SETS.addresses), addSet("m", SETS.verdicts), addSet("p", SETS.ports)],
  );

/** Adds each rule in a separate transaction. Returns their errnos. */
async function taken(side: Side, ...rules: readonly (readonly [chain: string, ...Expression[]])[]): Promise<string[]> {
  const outcomes = await commitEach(
    side,
    ...rules.map(([chain, ...expressions], at) => addRule(chain, String(at), expressions)),
  );
  return outcomes.map((outcome) => outcome.split(":")[0] ?? "");
}

export const expressionCases: Cases = {
  "a verdict may jump to a regular chain that exists": {
    async run(side) {
      await made(side);
      return taken(
        side,
        ["c", jump("d")],
        ["c", decide(VERDICT.goto, "d")],
        ["c", jump("x")],
        ["c", jump("f")],
        ["c", decide(VERDICT.jump)],
        ["c", decide(VERDICT.accept)],
        ["c", decide(VERDICT.return)],
        ["c", decide(77)],
        ["c", immediate(NFT_REG.verdict, 1)],
        ["c", { kind: "immediate", data: { dreg: r1, data: verdict(VERDICT.accept) } }],
      );
    },
    expected: [...["done", "done", "ENOENT", "EOPNOTSUPP", "EINVAL", "done", "done", "EINVAL", "EINVAL", "EINVAL"]],
  },
  "an expression may load only bytes that an earlier one stored": {
    async run(side) {
      await made(side);
      return taken(
        side,
        ["c", cmp([1])],
        ["c", loadSource, cmp([1, 2, 3, 4])],
        ["c", loadSource, cmp([1, 2, 3, 4, 5])],
        ["c", loadSource, cmp([1], NFT_CMP.eq, r2)],
        ["c", loadSource, cmp([1], NFT_CMP.eq, 8)],
        ["c", loadSource, cmp([1], NFT_CMP.eq, 9)],
        ["c", loadSource, cmp([1], NFT_CMP.eq, 99)],
        ["c", loadSource, cmp([1], 9)],
        ["c", loadSource, cmp(Array<number>(17).fill(1))],
        ["c", immediate(4, 1, 2, 3, 4)],
        ["c", immediate(23, 1, 2, 3, 4)],
        ["c", immediate(23, 1, 2, 3, 4, 5)],
      );
    },
    expected: [
      ...["ENODATA", "done", "ENODATA", "ENODATA", "done", "ENODATA", "ERANGE", "EINVAL", "EOVERFLOW"],
      ...["done", "done", "ERANGE"],
    ],
  },
  "a mask has the length of its operand": {
    async run(side) {
      await made(side);
      return taken(
        side,
        ["c", loadSource, mask(4)],
        ["c", loadSource, mask(4, 3)],
        ["c", loadSource, mask(4, 4, 5)],
        ["c", mask(4)],
      );
    },
    expected: ["done", "EINVAL", "EINVAL", "ENODATA"],
  },
  "a lookup needs an existing set, and a destination register of the map's data type": {
    async run(side) {
      await made(side);
      return taken(
        side,
        ["c", loadSource, lookup("s")],
        ["c", loadSource, lookup("x")],
        ["c", lookup("s")],
        ["c", loadSource, lookup("s", r1)],
        ["c", loadSource, lookup("m", NFT_REG.verdict)],
        ["c", loadSource, lookup("m", r1)],
        ["c", loadSource, lookup("p", r1)],
        ["c", loadSource, lookup("p", NFT_REG.verdict)],
      );
    },
    expected: ["done", "ENOENT", "ENODATA", "EINVAL", "done", "EINVAL", "done", "EINVAL"],
  },
  "NAT expressions are rejected outside nat chains and their hooks, even after jumps": {
    async run(side) {
      await made(side);
      const source = loadSource;
      return taken(
        side,
        ["post", masquerade],
        ["f", masquerade],
        ["pre", masquerade],
        ["pre", source, dnat()],
        ["post", source, dnat()],
        ["pre", dnat()],
        ["pre", source, dnat({ addressMin: undefined })],
        ["pre", source, dnat({ type: 7 })],
        ["c", masquerade],
        ["f", jump("c")],
        ["post", jump("c")],
        ["d", jump("c")],
        ["f", jump("d")],
      );
    },
    expected: [
      ...["done", "EOPNOTSUPP", "EOPNOTSUPP", "done", "EOPNOTSUPP", "ENODATA", "EINVAL", "EOPNOTSUPP"],
      ...["done", "EOPNOTSUPP", "done", "done", "EOPNOTSUPP"],
    ],
  },
  "an expression that a family lacks is ENOENT": {
    async run(side) {
      const { bridge } = NFPROTO;
      await commit(side, addTable("t", {}, { family: bridge }), addChain("c", {}, { family: bridge }));
      const rule = (comment: string, ...expressions: Expression[]) =>
        addRule("c", comment, expressions, {}, { family: bridge });
      const fib = { dreg: r1, result: 3, flags: NFT_FIB_FLAG.daddr };
      return commitEach(
        side,
        rule("masq", masquerade),
        rule("fib", { kind: "fib", data: fib }),
        rule("meta", { kind: "meta", data: { dreg: r1, key: NFT_META.iifname } }),
        rule("source", { kind: "payload", data: { dreg: r1, base: 0, offset: 6, length: 6 } }, cmp([1, 2, 3, 4, 5, 6])),
      );
    },
    expected: ["ENOENT: add rule c masq", "ENOENT: add rule c fib", "done", "done"],
  },
  "meta sets only the mark; fib takes exactly one address": {
    async run(side) {
      await made(side);
      const fib = (flags: number, result = 3): Expression => ({ kind: "fib", data: { dreg: r1, result, flags } });
      const meta = (key: number, more: object): Expression => ({ kind: "meta", data: { key, ...more } });
      return taken(
        side,
        ["c", loadSource, meta(NFT_META.mark, { sreg: r1 })],
        ["c", loadSource, meta(NFT_META.length, { sreg: r1 })],
        ["c", meta(NFT_META.mark, {})],
        ["c", meta(NFT_META.mark, { sreg: r1, dreg: r1 })],
        ["c", fib(NFT_FIB_FLAG.daddr)],
        ["c", fib(0)],
        ["c", fib(NFT_FIB_FLAG.saddr | NFT_FIB_FLAG.daddr)],
        ["post", fib(NFT_FIB_FLAG.daddr)],
        ["post", fib(NFT_FIB_FLAG.daddr, 1)],
        ["pre", fib(NFT_FIB_FLAG.daddr, 1)],
        ["c", { kind: "ct", data: { dreg: r1, key: 0 } }, cmp([0, 0, 0, 0], NFT_CMP.neq)],
      );
    },
    expected: [
      ...["done", "EOPNOTSUPP", "EINVAL", "EINVAL", "done", "EINVAL", "EINVAL", "done", "EOPNOTSUPP", "done", "done"],
    ],
  },
  "jumps from a base chain are at most sixteen deep": {
    async run(side) {
      const names = Array.from({ length: 17 }, (_, at) => `c${at}`);
      await made(side);
      await commit(side, ...names.map((name) => addChain(name)));
      const chained = names.slice(1).map((name, at) => addRule(`c${at}`, name, [jump(name)]));
      const deep = await commit(side, ...chained.slice(0, 14), addRule("f", "deep", [jump("c0")]));
      return [deep, await commit(side, addRule("c14", "deeper", [jump("c15")]))];
    },
    expected: ["done", "EMLINK: add rule c14 deeper"],
  },
  "a loop of jumps is rejected once a base chain reaches it": {
    async run(side) {
      await made(side);
      const circle = await commit(side, addRule("c", "1", [jump("d")]), addRule("d", "2", [jump("c")]));
      return [circle, await commit(side, addRule("f", "3", [jump("c")]))];
    },
    expected: ["done", "EMLINK: add rule f 3"],
  },
  "a verdict map's element is validated like a rule": {
    async run(side) {
      await made(side);
      await commit(side, addRule("c", "masq", [masquerade]), addRule("f", "map", [loadSource, lookup("m", 0)]));
      const to = (last: number, chain: string) =>
        addElements("m", [{ ...key(last), data: verdict(VERDICT.jump, chain) }]);
      return commitEach(side, to(1, "d"), to(2, "c"), to(3, "x"), to(4, "f"));
    },
    expected: ["done", "EOPNOTSUPP: add element m", "ENOENT: add element m", "EOPNOTSUPP: add element m"],
  },
};
