/** `weft cleanup`: removes from this node everything that weft has made, and nothing else. */

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
  summary: "remove everything that weft has made on this node, and nothing else",
  description: [
    "Removes weft's conflist, its rules (tables `inet weft`, `inet weft-services` and `weft_*`, and those in other programs' forward chains that carry its mark), its routes (protocol 119), its devices (by their alias), its bridge, its run directory, what weftd keeps over reboots, and host-local's index, also those that its conflist names in other places; with --bin-dir also the executables, and puts back what `weft install` had replaced.",
    "It refuses while a weftd lives, which would put everything back, and while pods hang on weft, which would lose their network: for these `weft install --undo` is the way back to other plugins. --dry-run prints what would go, as the commands that do the same by hand.",
    "It may be killed at any moment, or fail in part: the conflist is out of the runtime's sight first, and gone last, so that the next cleanup finishes the work.",
    "--services is the way back to kube-proxy alone: it removes the rules of Services (table `inet weft-services`) and nothing else, while pods and a weftd with --service-proxy none go on. It refuses while a weftd programs Services. Start kube-proxy first: with both sets of rules no connection is lost, and those under way go on by the kernel's connection tracking.",
    "What stays is told: a VXLAN device that another program's routes lead through, as flanneld's do after the way back; a bridge that others use, too; kernel settings such as net.ipv4.ip_forward, which others may need by now; addresses that host-local has reserved; the Node's annotations in the cluster.",
  ],
  arguments: {},
  options: {
    dryRun: { kind: "flag", about: "print what would be done, and change nothing" },
    pods: { kind: "flag", about: "even while pods hang on weft: they lose their network" },
    force: { kind: "flag", about: "even while a weftd lives" },
    services: { kind: "flag", about: "only the rules of Services: the way back to kube-proxy" },
    restore: { kind: "flag", about: "put back configurations that weftd has put out of use (*.weft-disabled)" },
    binDir: { kind: "text", value: "DIR", about: "remove the executables from there", completes: "directory" },
    runDir: RUN_DIR,
    stateDir: STATE_DIR,
    cniConfDir: CNI_CONF_DIR,
    dataDir: DATA_DIR,
  },
  examples: [
    { line: "cleanup --dry-run", about: "what would go, as commands" },
    { line: "cleanup --bin-dir /opt/cni/bin", about: "everything, with the executables" },
    { line: "cleanup --services", about: "back to kube-proxy, which runs already; pods stay" },
    { line: "cleanup --pods --restore --bin-dir /opt/cni/bin", about: "back to flannel, though pods still run" },
  ],
  printsData: true,
  run({ system, build, options, progress }) {
    if (options.services) {
      assertServicesAlone(options);
      return cleanUpServices(system, options);
    }
    progress("looking at the node ...");
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
        nothing: "Nothing of weft's was found on this node.",
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
  throw new CommandError("--services removes nothing else: leave out --pods, --restore and --bin-dir", {
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
    throw new CommandError(`a weftd lives: it answers in ${alive}, and would put everything back`, {
      status: ExitStatus.refused,
      remedy:
        "Nothing was changed. Stop it first (kubectl -n weft delete daemonset weftd, or the chart's release with helm uninstall, or systemctl stop weftd); --force does it nevertheless.",
    });
  }
  if (pods.length === 0) return;
  const some = pods.slice(0, 5).join(", ") + (pods.length > 5 ? ", ..." : "");
  throw new CommandError(`${pods.length} pod${pods.length === 1 ? " hangs" : "s hang"} on weft (${some})`, {
    status: ExitStatus.refused,
    remedy:
      "Nothing was changed. Drain the node first; --pods does it nevertheless, and these pods lose their network.",
  });
}

/** Goes on past what fails, but not to the closing steps, and returns what did. */
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

/** What weftd and the plugins switch on where it is off. */
const SETTINGS: readonly SysctlName[] = [...Object.values(FORWARDING), ...Object.values(BRIDGE_CALLS)];

function settingsThatStay(system: System): string[] {
  const on = SETTINGS.filter((name) => readSysctl(system, name) === "1");
  if (on.length === 0) return [];
  return [
    `kernel settings that weft switches on where they are off: ${on.map((name) => `${name.join(".")}=1`).join(" ")}`,
  ];
}
