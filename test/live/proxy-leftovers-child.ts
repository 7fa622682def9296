/**
 * Runs inside a namespace of the live tests: removes kube-proxy's leftovers there, and prints what it found as a line
 * of JSON. With an argument, it kills itself after that many transactions.
 */
import { LeftoverRemoval } from "../../daemon/controllers/proxy-leftovers/removal.ts";
import { execute } from "../../daemon/core/drivers/execute.ts";
import { SYSTEM_CLOCK } from "../../pkg/cluster/clock.ts";
import { EventedNetlink } from "../../pkg/netlink/evented.ts";
import { NETLINK_NETFILTER } from "../../pkg/netlink/message.ts";
import { nodeFiles } from "../../pkg/sys/node.ts";
import { openEventNetlink } from "../../pkg/sys/node-netlink.ts";

const limit = Number(process.argv[2] ?? Number.POSITIVE_INFINITY);
const nftables = new EventedNetlink(openEventNetlink(NETLINK_NETFILTER), "the test's namespace", SYSTEM_CLOCK);
const removal = new LeftoverRemoval({
  ...{ files: nodeFiles, execute, clock: SYSTEM_CLOCK },
  nftables: {
    dump: (...asked) => nftables.dump(...asked),
    exchange: (...asked) => nftables.exchange(...asked),
    commit: async (...asked) => {
      if (removal.progress.done >= limit) process.kill(process.pid, "SIGKILL");
      return await nftables.commit(...asked);
    },
  },
});
let removed = await removal.goOn();
while (removed === undefined) removed = await removal.goOn();
process.stdout.write(`${JSON.stringify(removed)}\n`);
nftables.close();
