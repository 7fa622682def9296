/** `weft cleanup`: removes everything that weft created on this node, and nothing else. */

import { BRIDGE_CALLS, FORWARDING } from "../../pkg/footprint.ts";
import { readSysctl, type SysctlName } from "../../pkg/kernel/sysctl.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";
import { isGone } from "../../pkg/netlink/errors.ts";
import { changeSeen } from "../../pkg/netlink/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import { changeBlocks } from "../change-report.ts";
import { DATA_DIR } from "../ipam/look.ts";
import { takeFileStep } from "../node/file-steps.ts";
import { runLegacy } from "../node/legacy.ts";
import { CNI_CONF_DIR, RUN_DIR, STATE_DIR } from "../node/options.ts";
import { CommandError, ExitStatus } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";
import { closeLoopback } from "./loopback.ts";
import { lookAtRules, observe, type Places } from "./observed.ts";
import { type CleanupPlan, planCleanup, planRules, type Step, stepText } from "./plan.ts";
import { cleanUpServices } from "./services.ts";

export const cleanup = declareSubcommand({
  name: "cleanup",
  group: "Change this node",
  summary: "remove everything that weft created on this node, and nothing else",
  description: [
    "Removes weft's conflist, its rules, routes (protocol 119), devices (by their alias), bridge, run directory and state directory, and host-local's index. Rules are the tables `inet weft`, `inet weft-services`, `inet weft-policy`, `inet weft-policy-cut`, `weft-senders` and `weft_*`, and weft's marked rules in other programs' forward chains. If weft's conflist names other directories, cleans these, too. With --bin-dir, also removes the executables, and restores the files that `weft install` replaced.",
    "Refuses to run while weftd is running, since weftd would restore everything, and while pods use weft, since they would lose their network. To return to other plugins while pods run, use `weft install --undo`. --dry-run prints the commands that do the same by hand.",
    "The command may be killed at any moment, or fail in part. It hides the conflist from the runtime first and removes it last, so the next cleanup can finish the work.",
    "--services removes only the rules of Services (table `inet weft-services`), to return to kube-proxy. Pods, and a weftd with --service-proxy none, keep running. It refuses to run while a weftd programs Services. Start kube-proxy first: no connection is lost while both sets of rules exist, and established connections continue by the kernel's connection tracking.",
    "Lists what is left in place: a VXLAN device that another program's routes use, such as flanneld's; a bridge that is used by another network, too; kernel settings such as net.ipv4.ip_forward, which other programs may need; addresses that host-local has reserved; and the Node's annotations in the cluster.",
  ],
  arguments: {},
  options: {
    dryRun: { kind: "flag", about: "print the commands, and change nothing" },
    pods: { kind: "flag", about: "run even if pods use weft; they lose their network" },
    force: { kind: "flag", about: "run even if weftd is running" },
    services: { kind: "flag", about: "remove only the rules of Services, to return to kube-proxy" },
    restore: { kind: "flag", about: "restore configurations that weftd disabled (*.weft-disabled)" },
    binDir: {
      kind: "text",
      value: "DIR",
      about: "the plugin directory from which to remove the executables",
      completes: "directory",
    },
    runDir: RUN_DIR,
    stateDir: STATE_DIR,
    cniConfDir: CNI_CONF_DIR,
    dataDir: DATA_DIR,
  },
  examples: [
    { line: "cleanup --dry-run", about: "print the commands of a cleanup" },
    { line: "cleanup --bin-dir /opt/cni/bin", about: "remove everything, with the executables" },
    { line: "cleanup --services", about: "return to kube-proxy, which is running; pods keep running" },
    { line: "cleanup --pods --restore --bin-dir /opt/cni/bin", about: "return to flannel even if pods still run" },
  ],
  printsData: true,
  run({ system, build, options, progress }) {
    if (options.services) {
      assertServicesAlone(options);
      return cleanUpServices(system, options);
    }
    progress("reading the state of the node ...");
    const observed = observe(system, placesOf(options));
    const plan = planCleanup(observed, { restores: options.restore, pluginNames: build.pluginNames });
    if (!options.dryRun) {
      assertAllowed(options.force ? [] : observed.alive, options.pods ? [] : plan.pods);
      progress("removing ...");
    }
    const failures = options.dryRun ? [] : carryOut(plan, system);
    const taken = failures.length > 0 ? plan.steps : [...plan.steps, ...plan.closing];
    const commands = taken.flatMap((step) => stepText(step, observed));
    const left = [...plan.left, ...settingsThatStay(system)];
    return {
      status: failures.length > 0 ? ExitStatus.failed : ExitStatus.done,
      blocks: changeBlocks({
        ...{ commands, left, failures, isDryRun: options.dryRun },
        nothing: "Found no objects of weft on this node.",
      }),
      data: {
        dryRun: options.dryRun,
        changed: !options.dryRun && taken.length > 0,
        commands,
        pods: plan.pods,
        weftdLives: observed.alive.length > 0,
        left,
        failures,
      },
    };
  },
});

function assertServicesAlone({
  pods,
  restore,
  binDir,
}: {
  pods: boolean;
  restore: boolean;
  binDir: string | undefined;
}) {
  if (!pods && !restore && binDir === undefined) return;
  throw new CommandError("--services cannot be combined with --pods, --restore or --bin-dir", {
    status: ExitStatus.usage,
  });
}

function placesOf({
  binDir,
  runDir,
  stateDir,
  cniConfDir,
  dataDir,
}: {
  binDir: string | undefined;
  runDir: string;
  stateDir: string;
  cniConfDir: string;
  dataDir: string;
}): Places {
  return { binDir, runDir, stateDir, cniConfDir, dataDir };
}

function assertAllowed([alive]: readonly string[], pods: readonly string[]): void {
  if (alive !== undefined) {
    throw new CommandError(`weftd is running (its socket is in ${alive}), and would restore everything`, {
      status: ExitStatus.refused,
      remedy:
        "Nothing was changed. Stop weftd first (kubectl -n weft delete daemonset weftd, helm uninstall of the chart's release, or systemctl stop weftd), or use --force.",
    });
  }
  if (pods.length === 0) return;
  const some = pods.slice(0, 5).join(", ") + (pods.length > 5 ? ", ..." : "");
  throw new CommandError(`${pods.length} pod${pods.length === 1 ? " uses" : "s use"} weft (${some})`, {
    status: ExitStatus.refused,
    remedy: "Nothing was changed. Drain the node first, or use --pods; these pods then lose their network.",
  });
}

/** Continues after failures, but skips the closing steps then. Returns the errors. */
function carryOut({ steps, closing }: CleanupPlan, system: System): string[] {
  const failures = takeAll(steps, system);
  return failures.length > 0 ? failures : takeAll(closing, system);
}

function takeAll(steps: readonly Step[], system: System): string[] {
  return steps.flatMap((step) => {
    try {
      take(step, system);
      return [];
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  });
}

function take(step: Step, system: System): void {
  switch (step.kind) {
    case "route": {
      const netlink = openRoute(system);
      try {
        netlink.run(step.request);
      } catch (error) {
        if (!isGone(error)) throw error;
      } finally {
        netlink.close();
      }
      return;
    }
    case "rules":
      closeLoopback(system, step.tables);
      changeSeen(system, lookAtRules, planRules);
      return;
    case "legacy":
      runLegacy(system, step.path, step.args);
      return;
    case "file":
      takeFileStep(step.file, system);
  }
}

/** Settings that weftd and the plugins switch on. */
const SETTINGS: readonly SysctlName[] = [...Object.values(FORWARDING), ...Object.values(BRIDGE_CALLS)];

function settingsThatStay(system: System): string[] {
  const on = SETTINGS.filter((name) => readSysctl(system, name) === "1");
  if (on.length === 0) return [];
  return [
    `kernel settings that weft switches on if they are off: ${on.map((name) => `${name.join(".")}=1`).join(" ")}`,
  ];
}
