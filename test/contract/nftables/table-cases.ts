import { decode, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "../../../pkg/netlink/message.ts";
import { NFPROTO, NFT_MSG_NEWTABLE } from "../../../pkg/netlink/nftables.ts";
import type { Cases } from "./case.ts";
import { addChain, addTable, deleteTable, deleteTableByHandle, dumps } from "./requests.ts";
import { commit, commitEach, list, outcomeOf, type Side } from "./side.ts";

const DORMANT = 1;
const OWNER = 2;
/** NLM_F_NONREC */
const NOT_WITH_CONTENT = NLM_F_REPLACE;

async function tablesOf({ netlink }: Side, family: number) {
  return (await netlink.dump(dumps.tables(family))).map((message) => decode(NFT_MSG_NEWTABLE, message).attributes);
}

export const tableCases: Cases = {
  "creating a table twice fails only with NLM_F_EXCL or NLM_F_REPLACE": {
    run: (side) =>
      commitEach(
        side,
        addTable(),
        addTable(),
        addTable("t", {}, { flags: NLM_F_CREATE | NLM_F_EXCL }),
        addTable("t", {}, { flags: NLM_F_CREATE | NLM_F_REPLACE }),
        addTable("t", {}, { flags: 0 }),
      ),
    expected: ["done", "done", "EEXIST: add table t", "EOPNOTSUPP: add table t", "done"],
  },
  "a table needs a known family and a name": {
    run: (side) =>
      commitEach(
        side,
        addTable("t", {}, { family: 99 }),
        addTable("t", {}, { family: NFPROTO.ip }),
        addTable("t", {}, { family: NFPROTO.bridge }),
        deleteTable("t"),
        addTable("t", { name: undefined }),
      ),
    expected: ["EOPNOTSUPP: add table t", "done", "done", "ENOENT: delete table t", "EINVAL: add table t"],
  },
  "a name has at most 255 bytes": {
    async run(side) {
      const outcomes = await commitEach(side, addTable("x".repeat(255)), addTable("y".repeat(256)));
      return outcomes.map((outcome) => outcome.slice(0, 6));
    },
    expected: ["done", "ERANGE"],
  },
  "deleting a table removes its content; deleting an absent table is ENOENT": {
    run: (side) => commitEach(side, addTable(), addChain("c"), deleteTable(), deleteTable(), addTable(), addChain("c")),
    expected: ["done", "done", "done", "ENOENT: delete table t", "done", "done"],
  },
  "deleting a table by its handle keeps another table of the same name": {
    async run(side) {
      await commit(side, addTable());
      const [{ handle = 0n } = {}] = await tablesOf(side, NFPROTO.inet);
      const replaced = await commit(side, deleteTable(), addTable());
      const late = await outcomeOf(side.netlink.commit([deleteTableByHandle(handle)]));
      const [{ handle: next = 0n } = {}] = await tablesOf(side, NFPROTO.inet);
      const outcome = await outcomeOf(side.netlink.commit([deleteTableByHandle(next)]));
      return [replaced, late.split(":")[0] ?? "", outcome, (await tablesOf(side, NFPROTO.inet)).length];
    },
    expected: ["done", "ENOENT", "done", 0],
  },
  "with NLM_F_NONREC a table that is not empty cannot be deleted": {
    run: (side) =>
      commitEach(
        side,
        addTable(),
        addChain("c"),
        deleteTable("t", { flags: NOT_WITH_CONTENT }),
        addTable("u"),
        deleteTable("u", { flags: NOT_WITH_CONTENT }),
      ),
    expected: ["done", "done", "EBUSY: delete table t", "done", "done"],
  },
  "a dump of a table has its flags, use count and userdata": {
    async run(side) {
      await commit(side, addTable("t", { userdata: Uint8Array.of(0, 2, 65, 0) }), addChain("c"));
      const dormant = await commit(side, addTable("t", { flags: DORMANT }));
      const unknown = await commit(side, addTable("t", { flags: 0x80 }));
      const tables = await tablesOf(side, NFPROTO.inet);
      return [
        dormant,
        unknown,
        ...tables.map(({ name = "", flags = 0, use = 0, userdata }) => [name, flags, use, userdata?.join() ?? ""]),
      ];
    },
    expected: ["done", "EOPNOTSUPP: add table t", ["t", DORMANT, 1, "0,2,65,0"]],
  },
  "tables are dumped for one family or for all": {
    async run(side) {
      await commit(side, addTable("b"), addTable("a", {}, { family: NFPROTO.ip }), addTable("a"));
      const names = async (family: number) => (await tablesOf(side, family)).map(({ name = "" }) => name);
      return [await names(NFPROTO.inet), await names(NFPROTO.ip), await names(NFPROTO.ip6), await names(0)];
    },
    expected: [["b", "a"], ["a"], [], ["b", "a", "a"]],
  },
  "an owned table rejects other sockets and is removed with its owner": {
    async run(side) {
      const owner = await side.openProgram();
      const made = await commit(owner, addTable("t", { flags: OWNER }), addChain("c"));
      const refused = await commitEach(side, addTable(), addChain("d"), deleteTable());
      const flushed = await commit(side, deleteTable("u", { family: 0 }));
      const seen = await list(side);
      const own = await commit(owner, addChain("e"));
      owner.close();
      await new Promise((resolve) => setTimeout(resolve, 300));
      return [made, ...refused, flushed, seen, own, (await tablesOf(side, NFPROTO.inet)).length];
    },
    expected: [
      ...["done", "EPERM: add table t", "EPERM: add chain d", "EPERM: delete table t", "done"],
      ...[{ c: [] }, "done", 0],
    ],
  },
};
