/**
 * Runs inside a node's namespace: the controller of Services' flows, as weftd runs it. Each line of standard input is
 * the new list of all frontends. Each pass over the table prints a line.
 */
import { createInterface } from "node:readline";
import type { ConntrackSweep, ProgrammedServices } from "../../daemon/controllers/facts.ts";
import { serviceConntrackController } from "../../daemon/controllers/service-conntrack/service-conntrack.ts";
import { FlowCleaner } from "../../daemon/core/drivers/flow-cleaner.ts";
import { openLog } from "../../daemon/core/log.ts";
import { Metrics } from "../../daemon/core/metrics.ts";
import { Runner } from "../../daemon/core/runner.ts";
import { Fact } from "../../daemon/core/topic.ts";
import { SYSTEM_CLOCK } from "../../pkg/cluster/clock.ts";
import type { Protocol } from "../../pkg/cluster/service/service.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { EventedNetlink } from "../../pkg/netlink/evented.ts";
import { NETLINK_NETFILTER } from "../../pkg/netlink/message.ts";
import { type Frontend, frontendKey } from "../../pkg/services/frontend.ts";
import { openEventNetlink } from "../../pkg/sys/node-netlink.ts";

/** One Service port. */
export interface Told {
  readonly address: string;
  readonly port: number;
  readonly protocol?: Protocol;
  /** Addresses of endpoints, all with the same port. */
  readonly endpoints: readonly string[];
  readonly endpointPort: number;
}

function frontendOf({ address, port, protocol = 17, endpoints, endpointPort }: Told): Frontend {
  const chosen = endpoints.map((each) => ({ address: parseAddress(each), port: endpointPort, isLocal: true }));
  return {
    ...{ kind: "ClusterIP", address: parseAddress(address), protocol, port, service: "a/b", portName: "c" },
    ...{ policy: "internal", endpoints: chosen, localEndpoints: [], affinity: undefined, allowedSources: undefined },
    withoutEndpoint: chosen.length === 0 ? "reject" : undefined,
  };
}

const log = openLog("warn", "node");
const committed = new Fact<ProgrammedServices>("committed", (a, b) => a === b);
const sweep = new Fact<ConntrackSweep>("sweep", (a, b) => a === b);
sweep.subscribe(() => console.log(JSON.stringify(sweep.value)));
const runner = new Runner({
  ...{ clock: SYSTEM_CLOCK, log, metrics: new Metrics() },
  kernel: { snapshot: () => Promise.reject(new Error("not asked for")) },
});
const netlink = new EventedNetlink(
  openEventNetlink(NETLINK_NETFILTER, { isSlow: true }),
  "the test's namespace",
  SYSTEM_CLOCK,
);
runner.start(
  serviceConntrackController({ clock: SYSTEM_CLOCK, log, cleaner: new FlowCleaner(netlink), committed, sweep }),
);

let known: Map<string, Frontend> | undefined;
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const now = new Map((JSON.parse(line) as Told[]).map(frontendOf).map((each) => [frontendKey(each), each]));
    const before = known;
    known = now;
    const keys = new Set([...(before?.keys() ?? []), ...now.keys()]);
    const changes = [...keys].map((key) => ({ before: before?.get(key), after: now.get(key) }));
    committed.publish({
      changes: before === undefined ? undefined : changes,
      hasWritten: true,
      frontends: () => now.values(),
    });
  })
  .on("close", () => process.exit(0));
