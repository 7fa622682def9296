/**
 * Runs inside the node's namespace: computes the frontends of the given cases, one JSON object a line, and programs
 * them as weftd does. Answers each with the number of transactions.
 */
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";
import { answeredBy } from "../../../daemon/core/drivers/ruleset.ts";
import { SYSTEM_CLOCK } from "../../../pkg/cluster/clock.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { NETLINK_NETFILTER } from "../../../pkg/netlink/message.ts";
import { NftablesMode } from "../../../pkg/services/nftables/nftables-mode.ts";
import { ServiceMap } from "../../../pkg/services/service-map.ts";
import { openEventNetlink } from "../../../pkg/sys/node-netlink.ts";
import type { Case } from "../rows.ts";
import { fill, type State, stateOf } from "../state.ts";

/**
 * `compare`: like a weftd at its start. `change`: like a running weftd that applies the differences from the previous
 * case, except differences of the node's settings.
 */
export type Order = { readonly do: "compare" | "change"; readonly case: Case };

const netlink = new EventedNetlink(openEventNetlink(NETLINK_NETFILTER), "the node", SYSTEM_CLOCK);
let mode = new NftablesMode();
let map = new ServiceMap();
let before: State | undefined;

async function carryOut(order: Order): Promise<number> {
  const state = stateOf(order.case);
  const isChange = order.do === "change" && before !== undefined && isDeepStrictEqual(before.settings, state.settings);
  if (!isChange) {
    mode = new NftablesMode();
    map = new ServiceMap();
    before = undefined;
  }
  fill(map, state, before);
  before = state;
  const changes = map.changes();
  const transactions = isChange
    ? mode.change(changes)
    : await answeredBy(netlink, mode.compare(map.frontends(), state.settings));
  for (const transaction of transactions) await netlink.commit(transaction);
  return transactions.length;
}

let last: Promise<unknown> = Promise.resolve();
createInterface({ input: process.stdin })
  .on("line", (line) => {
    last = last
      .then(() => carryOut(JSON.parse(line) as Order))
      .then(
        (value) => console.log(JSON.stringify({ value })),
        (error: Error) => console.log(JSON.stringify({ error: error.stack ?? String(error) })),
      );
  })
  .on("close", () => process.exit(0));
