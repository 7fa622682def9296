/** Random and hashed numbers, rejects, the packet's priority, and sets that rules change. */
import { decode } from "../../../pkg/netlink/message.ts";
import {
  type Expression,
  NF_INET_HOOK,
  NFT_CT,
  NFT_DYNSET_OP,
  NFT_META,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_REG,
  NFT_SET,
} from "../../../pkg/netlink/nftables.ts";
import type { Cases } from "./case.ts";
import {
  addChain,
  addElements,
  addRule,
  addSet,
  addTable,
  deleteSet,
  dumps,
  hooked,
  key,
  loadSource,
  SETS,
  TABLE,
} from "./requests.ts";
import { commit, commitEach, elementsIn, type Side } from "./side.ts";

const { r1, r2 } = NFT_REG;
const COUNTER: Expression = { kind: "counter", data: {} };
const DYNAMIC = {
  ...SETS.addresses,
  flags: NFT_SET.dynamic | NFT_SET.timeout,
  timeout: 60_000n,
  description: { size: 9 },
};
const PRIORITIES = { keyType: 7, keyLength: 4, dataType: 23, dataLength: 4 };

const made = (side: Side) =>
  commit(
    side,
    ...[addTable(), addChain("c"), addChain("f", hooked(NF_INET_HOOK.forward)), addSet("s", SETS.addresses)],
    ...[addSet("t", DYNAMIC), addSet("r", SETS.ranges), addSet("v", { ...SETS.verdicts, ...{ timeout: undefined } })],
    addSet("m", { ...DYNAMIC, ...PRIORITIES, flags: DYNAMIC.flags | NFT_SET.map }),
    addSet("k", { ...SETS.addresses, flags: NFT_SET.constant }),
  );

async function taken(side: Side, ...rules: readonly (readonly Expression[])[]): Promise<string[]> {
  await made(side);
  const outcomes = await commitEach(side, ...rules.map((rule, at) => addRule("c", String(at), rule)));
  return outcomes.map((outcome) => outcome.split(":")[0] ?? "");
}

/** The last expression of each rule of `c` as the dump has it. */
async function dumped({ netlink }: Side): Promise<string[]> {
  const messages = await netlink.dump(dumps.rules(1, TABLE, "c"));
  return messages.map((message) => {
    const { kind, data } = decode(NFT_MSG_NEWRULE, message).attributes.expressions?.at(-1) ?? {};
    const fields = Object.entries(data ?? {}).map(([name, value]) => `${name}=${value}`);
    return [kind, ...fields.sort()].join(" ");
  });
}

const numgen = (data: object): Expression => ({ kind: "numgen", data: { dreg: r1, modulus: 3, type: 1, ...data } });
const hash = (data: object): Expression => ({
  kind: "hash",
  data: { sreg: r1, dreg: r2, length: 4, modulus: 3, seed: 7, type: 0, ...data },
});
const reject = (data: object): Expression => ({ kind: "reject", data });
const log = (data: object): Expression => ({ kind: "log", data: { group: 7, ...data } });
const limit = (data: object): Expression => ({ kind: "limit", data: { rate: 10n, unit: 1n, ...data } });
const dynset = (set: string, op: number, more: object = {}): Expression => ({
  kind: "dynset",
  data: { set, op, sregKey: r1, ...more },
});
const { add, update, delete: remove } = NFT_DYNSET_OP;

export const dynamicCases: Cases = {
  "a random number needs a modulus, a known type, and an offset without overflow": {
    run: (side) =>
      taken(
        side,
        [numgen({})],
        [numgen({ type: 0 })],
        [numgen({ type: 2 })],
        [numgen({ type: undefined })],
        [numgen({ modulus: undefined })],
        [numgen({ dreg: undefined })],
        [numgen({ modulus: 0 })],
        [numgen({ offset: 0xffff_fffd })],
        [numgen({ offset: 0xffff_fffe })],
        [numgen({ dreg: 99 })],
      ),
    expected: ["done", "done", "EINVAL", "EINVAL", "EINVAL", "EINVAL", "ERANGE", "done", "EOVERFLOW", "ERANGE"],
  },
  "a hash needs stored bytes, a modulus, and an offset without overflow": {
    run: (side) =>
      taken(
        side,
        [loadSource, hash({})],
        [hash({})],
        [loadSource, hash({ length: 5 })],
        [loadSource, hash({ length: 0 })],
        [loadSource, hash({ length: 256 })],
        [loadSource, hash({ length: undefined })],
        [loadSource, hash({ modulus: undefined })],
        [loadSource, hash({ modulus: 0 })],
        [loadSource, hash({ modulus: 0x8000_0000, offset: 0x8000_0000 })],
        [loadSource, hash({ modulus: 0x8000_0000, offset: 0x8000_0001 })],
        [loadSource, hash({ type: undefined })],
      ),
    expected: [
      ...["done", "ENODATA", "ENODATA", "ERANGE", "ERANGE", "EINVAL", "EINVAL", "ERANGE", "done", "EOVERFLOW", "done"],
    ],
  },
  "a reject has a type and, for ICMP, a code": {
    run: (side) =>
      taken(
        side,
        [reject({ type: 2, code: 1 })],
        [reject({ type: 2, code: 4 })],
        [reject({ type: 2 })],
        [reject({ type: 0, code: 3 })],
        [reject({ type: 1 })],
        [reject({ type: 3, code: 0 })],
        [reject({ code: 0 })],
      ),
    expected: ["done", "EINVAL", "EINVAL", "done", "done", "EINVAL", "EINVAL"],
  },
  "a log entry has a short prefix, and goes to a group or has a level, not both": {
    run: (side) =>
      taken(
        side,
        [log({})],
        [log({ prefix: "x".repeat(127), snapLength: 128, queueThreshold: 1 })],
        [log({ prefix: "x".repeat(128) })],
        [log({ level: 4 })],
      ),
    expected: ["done", "done", "ERANGE", "EINVAL"],
  },
  "a limit needs a rate and a unit without overflow, and a known type": {
    run: (side) =>
      taken(
        side,
        [limit({})],
        [limit({ burst: 20, type: 0, flags: 1 })],
        [limit({ rate: undefined })],
        [limit({ unit: undefined })],
        [limit({ rate: 0n })],
        [limit({ unit: 1n << 40n })],
        [limit({ type: 2 })],
        [limit({ flags: 2 })],
      ),
    expected: ["done", "done", "EINVAL", "EINVAL", "EINVAL", "EOVERFLOW", "EOPNOTSUPP", "EOPNOTSUPP"],
  },
  "dumps state a limit's default burst, and a log's attributes as they were given": {
    run: async (side) => {
      const rules = [limit({}), limit({ burst: 20 }), log({}), log({ prefix: "p", snapLength: 128 })];
      await taken(side, ...rules.map((each) => [each]));
      return dumped(side);
    },
    expected: [
      "limit burst=5 flags=0 rate=10 type=0 unit=1",
      "limit burst=20 flags=0 rate=10 type=0 unit=1",
      "log group=7",
      "log group=7 prefix=p snapLength=128",
    ],
  },
  "a rule can change sets that are neither constant nor intervals; maps need data": {
    run: (side) =>
      taken(
        side,
        [loadSource, dynset("t", add)],
        [loadSource, dynset("t", update, { timeout: 5000n })],
        [loadSource, dynset("t", remove)],
        [loadSource, dynset("t", 3)],
        [dynset("t", add)],
        [loadSource, dynset("x", add)],
        [loadSource, dynset("t", add, { sregData: r1 })],
        [loadSource, dynset("m", add)],
        [loadSource, dynset("m", add, { sregData: r1 })],
        [loadSource, dynset("m", add, { sregData: r2 })],
        [loadSource, dynset("m", remove)],
        [loadSource, dynset("s", update)],
        [loadSource, dynset("s", add, { timeout: 5000n })],
        [loadSource, dynset("k", add)],
        [loadSource, dynset("r", add)],
        [loadSource, dynset("v", add, { sregData: r1 })],
      ),
    expected: [
      ...["done", "done", "done", "EOPNOTSUPP", "ENODATA", "ENOENT", "EOPNOTSUPP", "EINVAL", "done", "ENODATA"],
      ...["EINVAL", "done", "EOPNOTSUPP", "EBUSY", "EOPNOTSUPP", "EOPNOTSUPP"],
    ],
  },
  "the key of a connection's tuple needs a direction, other keys must have none": {
    run: (side) => {
      const ct = (name: number, direction?: number): Expression => ({
        kind: "ct",
        data: { dreg: r1, key: name, ...(direction === undefined ? {} : { direction }) },
      });
      return taken(
        side,
        [ct(NFT_CT.destinationIpv4, 0)],
        [ct(NFT_CT.destinationIpv6, 1)],
        [ct(NFT_CT.protocolDestination, 0)],
        [ct(NFT_CT.protocolDestination)],
        [ct(NFT_CT.protocolDestination, 2)],
        [ct(NFT_CT.state, 0)],
      );
    },
    expected: ["done", "done", "done", "EINVAL", "EINVAL", "EINVAL"],
  },
  "the priority is read and set": {
    run: (side) => {
      const meta = (data: object): Expression => ({ kind: "meta", data: { key: NFT_META.packetPriority, ...data } });
      return taken(side, [meta({ dreg: r1 }), meta({ sreg: r1 })], [meta({ sreg: r1 })]);
    },
    expected: ["done", "ENODATA"],
  },
  "dumps include the defaults of random, hash and dynset expressions": {
    async run(side) {
      await taken(
        side,
        [numgen({})],
        [loadSource, hash({})],
        [loadSource, hash({ offset: 5, dreg: 12 })],
        [reject({ type: 2, code: 1 })],
        [loadSource, dynset("m", update, { sregData: r1, timeout: 5000n })],
        [loadSource, dynset("t", remove)],
        [{ kind: "ct", data: { dreg: 9, key: NFT_CT.protocolDestination, direction: 0 } }],
      );
      return dumped(side);
    },
    expected: [
      "numgen dreg=1 modulus=3 offset=0 type=1",
      "hash dreg=2 length=4 modulus=3 seed=7 sreg=1 type=0",
      "hash dreg=2 length=4 modulus=3 offset=5 seed=7 sreg=1 type=0",
      "reject code=1 type=2",
      "dynset flags=0 op=1 set=m sregData=1 sregKey=1 timeout=5000",
      "dynset flags=0 op=2 set=t sregKey=1 timeout=0",
      "ct direction=0 dreg=9 key=12",
    ],
  },
  "a timeout needs a set with timeouts; each element gets the set's counter": {
    async run(side) {
      await made(side);
      const outcomes = await commitEach(
        side,
        addSet("a", { ...SETS.addresses, timeout: 5n }),
        addSet("b", { ...SETS.addresses, flags: NFT_SET.timeout, timeout: 5000n }),
        addSet("n", { ...SETS.addresses, expression: COUNTER }),
        addElements("n", [key(1), { ...key(2), expression: COUNTER }]),
        addElements("n", [key(1)]),
        addElements("s", [{ ...key(3), expression: COUNTER }]),
      );
      const sets = (await side.netlink.dump(dumps.sets(1, TABLE))).map(
        (message) => decode(NFT_MSG_NEWSET, message).attributes,
      );
      const shown = sets.map(({ name, timeout, expression }) => `${name} ${timeout ?? ""} ${expression?.kind ?? ""}`);
      const elements = (await Promise.all(["n", "s"].map((set) => side.netlink.dump(dumps.elements(1, TABLE, set)))))
        .flat()
        .flatMap(elementsIn)
        .map(
          ({ key: name, expression }) =>
            `${name?.value?.at(-1)} ${expression?.kind} ${expression?.kind === "counter" ? expression.data?.packets : ""}`,
        );
      return [outcomes, shown, elements.sort()];
    },
    expected: [
      ["EINVAL: add set a", "done", "done", "done", "done", "done"],
      ["s  ", "t 60000 ", "r  ", "v  ", "m 60000 ", "k  ", "b 5000 ", "n  counter"],
      ["1 counter 0", "2 counter 0", "3 counter 0"],
    ],
  },
  "a set that a rule changes is busy": {
    async run(side) {
      await taken(side, [loadSource, dynset("t", add)]);
      return commitEach(side, deleteSet("t"), deleteSet("m"));
    },
    expected: ["EBUSY: delete set t", "done"],
  },
};
