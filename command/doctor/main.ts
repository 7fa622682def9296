/** `weft doctor`: finds problems with pods' traffic on this node, and suggests what to do. */
import { type BlockingNetlink, openNetfilter, openRoute } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import { lacksNetfilter, readGeneration } from "../../pkg/netlink/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import { CNI_BIN_DIR, CNI_CONF_DIR, METRICS_ADDRESS, RUN_DIR, TIMEOUT } from "../node/options.ts";
import { ExitStatus } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";
import { CHECKS } from "./checks/all.ts";
import { gather, type Sockets } from "./gather.ts";
import { judgeAll, reportBlocks, statusOf } from "./report.ts";

export const doctor = declareSubcommand({
  name: "doctor",
  group: "Inspect",
  summary: "find problems with pods' traffic, and how to fix them",
  description: [
    "Checks the kernel, its settings and tables, weftd, the runtime's configuration, reserved addresses and other programs, and probes a few peers. Changes nothing.",
    "Run it on the node as root to check everything. In weftd's container, checks that need more access are skipped and listed.",
    "Each finding states what was seen, why it matters, and what to do, with a command if possible. A healthy node is reported in one line.",
    "The exit status is 0 if the node is healthy or there are only notes, 4 if there are warnings, and 5 if there are errors.",
  ],
  arguments: {},
  options: {
    list: { kind: "flag", about: "list the checks, and run none" },
    only: { kind: "list", value: "CHECK,...", about: "run only these checks", choices: CHECKS.map(({ name }) => name) },
    quiet: { kind: "flag", about: "do not probe other nodes" },
    runDir: RUN_DIR,
    cniConfDir: CNI_CONF_DIR,
    cniBinDir: CNI_BIN_DIR,
    metricsAddress: METRICS_ADDRESS,
    timeout: TIMEOUT,
  },
  examples: [
    { line: "doctor", about: "run all checks" },
    { line: "doctor -o json", about: "print the findings as JSON" },
    { line: "doctor --list", about: "list the checks" },
  ],
  printsData: true,
  run({ system, build, options, progress }) {
    if (options.list) return listed();
    return withSockets(system, (sockets) => {
      const facts = gather(
        system,
        sockets,
        { ...options, timeoutMs: options.timeout, isQuiet: options.quiet, build },
        progress,
      );
      const asked = options.only.length === 0 ? CHECKS : CHECKS.filter(({ name }) => options.only.includes(name));
      const checks = asked.filter(({ name }) => !facts.unseen.has(name));
      const leftOut = asked.flatMap(({ name }) => {
        const reason = facts.unseen.get(name);
        return reason === undefined ? [] : [{ check: name, reason }];
      });
      const findings = judgeAll(checks, facts);
      const peers = facts.table?.peers.length ?? 0;
      const node = facts.table?.node.name;
      return {
        // If none of the requested checks could run, success would be misleading.
        status: checks.length === 0 && leftOut.length > 0 ? ExitStatus.refused : statusOf(findings),
        blocks: reportBlocks(findings, { node, checks: checks.length, peers, leftOut }),
        data: { node, checks: checks.length, peers, findings, leftOut },
      };
    });
  },
});

function listed() {
  return {
    status: ExitStatus.done,
    blocks: [
      {
        kind: "table" as const,
        head: ["GROUP", "CHECK", "CHECKS THAT"],
        rows: CHECKS.map(({ group, name, about }) => [group, name, about]),
      },
    ],
    data: CHECKS.map(({ name, group, about }) => ({ name, group, about })),
  };
}

function withSockets<T>(system: System, work: (sockets: Sockets) => T): T {
  const route = openRoute(system);
  const netfilter = openWhereThere(system);
  try {
    return work({ route, netfilter });
  } finally {
    route.close();
    netfilter?.close();
  }
}

/** Undefined if the kernel does not support nf_tables. */
function openWhereThere(system: System): BlockingNetlink | undefined {
  let netfilter: BlockingNetlink | undefined;
  try {
    netfilter = openNetfilter(system);
    readGeneration(netfilter);
    return netfilter;
  } catch (error) {
    netfilter?.close();
    if (lacksNetfilter(error) || isNetlinkError(error, "EINVAL", "EOPNOTSUPP")) return undefined;
    throw error;
  }
}
