/** `weft doctor`: what keeps pods' traffic from flowing on this node, or will, and what to do about it. */
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
  group: "Look",
  summary: "find what keeps pods' traffic from flowing, with the remedy for each",
  description: [
    "Looks at the kernel, its settings and tables, weftd, the runtime's configuration, reserved addresses and other programs, and asks a few peers. Nothing is changed.",
    "In weftd's container it has that container's rights: checks that cannot see what they look at are named, and left out. On the node itself, as root, it sees everything.",
    "Each finding says what was seen, what comes of it, and the command that mends it. A healthy node is told in one line.",
    "The exit status is 0 for a healthy node or notes alone, 4 for warnings, 5 for errors.",
  ],
  arguments: {},
  options: {
    list: { kind: "flag", about: "say what is checked, and check nothing" },
    only: { kind: "list", value: "CHECK,...", about: "these checks alone", choices: CHECKS.map(({ name }) => name) },
    quiet: { kind: "flag", about: "send nothing to other nodes" },
    runDir: RUN_DIR,
    cniConfDir: CNI_CONF_DIR,
    cniBinDir: CNI_BIN_DIR,
    metricsAddress: METRICS_ADDRESS,
    timeout: TIMEOUT,
  },
  examples: [
    { line: "doctor", about: "look at everything" },
    { line: "doctor -o json", about: "for a machine" },
    { line: "doctor --list", about: "what is looked at" },
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
        // Who asked for these alone must not take silence for health.
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
        head: ["GROUP", "CHECK", "LOOKS WHETHER"],
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

/** Undefined where the kernel has no nf_tables. */
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
