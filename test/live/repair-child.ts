/**
 * Runs inside a namespace of the live tests: damages weft's nftables tables repeatedly (`RepairOptions`, JSON on
 * standard input), and prints how long each repair took (`RepairTimes`). Uses netlink directly: `nft` reads all chains
 * of a family before it does anything, so its own time would dominate.
 */
import { readFileSync } from "node:fs";
import { SYSTEM_CLOCK } from "../../pkg/cluster/clock.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import { EventedNetlink } from "../../pkg/netlink/evented.ts";
import {
  dumpRequest,
  type Message,
  NETLINK_NETFILTER,
  type Query,
  type Request,
  request,
} from "../../pkg/netlink/message.ts";
import {
  NFPROTO,
  NFT_MSG_DELRULE,
  NFT_MSG_DELSETELEM,
  NFT_MSG_DELTABLE,
  NFT_MSG_GETRULE,
  NFT_MSG_GETSETELEM,
  NFT_MSG_NEWRULE,
} from "../../pkg/netlink/nftables.ts";
import { chainObject, setObject, tableObject } from "../../pkg/nft/object.ts";
import { openEventNetlink } from "../../pkg/sys/node-netlink.ts";

/** The part of a table of the family inet to remove: the table, a set's elements, or a chain's rules. */
export type Damage = {
  readonly table: string;
  readonly set: string;
  readonly chain: string;
  readonly removes: "table" | "elements" | "rules";
};

export interface RepairOptions {
  readonly damages: readonly Damage[];
  readonly rounds: number;
  /** Another program's chain. A rule is added to it before each damage, and weftd has `pauseMs` to react. */
  readonly stir: { readonly table: string; readonly chain: string; readonly pauseMs: number };
}

/** Milliseconds for each damage in order, round by round. */
export type RepairTimes = readonly (readonly number[])[];

const LONGEST_MS = 20_000;
const family = NFPROTO.inet;
const netlink = new EventedNetlink(openEventNetlink(NETLINK_NETFILTER), "the test's namespace", SYSTEM_CLOCK);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function dumped(dump: Query): Promise<readonly Message[]> {
  try {
    return await netlink.dump(dump);
  } catch (error) {
    if (isNetlinkError(error, "ENOENT")) return [];
    throw error;
  }
}

/** The number of rules and the bytes of the elements. Both have their old values when the repair is complete. */
async function size({ table, set, chain }: Damage): Promise<string> {
  const rules = await dumped(dumpRequest(NFT_MSG_GETRULE, "rules", { family }, { table, chain }));
  const elements = await dumped(dumpRequest(NFT_MSG_GETSETELEM, "elements", { family }, { table, set }));
  return `${rules.length} ${elements.reduce((sum, { payload }) => sum + payload.length, 0)}`;
}

function remove({ table, set, chain, removes }: Damage): Request {
  switch (removes) {
    case "table":
      return request(NFT_MSG_DELTABLE, tableObject(table), "delete table", { family }, { name: table });
    case "elements":
      return request(NFT_MSG_DELSETELEM, setObject(table, set), "flush set", { family }, { table, set });
    case "rules":
      return request(NFT_MSG_DELRULE, chainObject(table, chain), "flush chain", { family }, { table, chain });
  }
}

async function timeOf(damage: Damage, { stir }: RepairOptions): Promise<number> {
  const { table, chain } = stir;
  await netlink.commit([
    request(NFT_MSG_NEWRULE, chainObject(table, chain), "add rule", { family: NFPROTO.ip }, { table, chain }, 0xc00),
  ]);
  await pause(stir.pauseMs);
  const before = await size(damage);
  const beganMs = performance.now();
  await netlink.commit([remove(damage)]);
  for (;;) {
    if ((await size(damage)) === before) return performance.now() - beganMs;
    if (performance.now() > beganMs + LONGEST_MS) throw new Error(`not restored: ${JSON.stringify(damage)}`);
    await pause(1);
  }
}

const options = JSON.parse(readFileSync(0, "utf8")) as RepairOptions;
const times = options.damages.map((): number[] => []);
for (let round = 0; round < options.rounds; round++)
  for (const [at, damage] of options.damages.entries()) times[at]?.push(await timeOf(damage, options));
process.stdout.write(JSON.stringify(times satisfies RepairTimes));
netlink.close();
