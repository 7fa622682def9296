/**
 * Assembles the daemon: options, the list of controllers, and the order in which parts stop.
 *
 *     sources (Nodes, net-conf.json) ──┐
 *     kernel notifications, commits  ──┼──> runner ──> controllers ──> drivers ──> kernel, files, processes
 *     facts of other controllers     ──┤                    └──> API server, container runtime
 *     every minute                   ──┘
 */
import { SYSTEM_CLOCK } from "../pkg/cluster/clock.ts";
import { RepairGate, type RepairListener } from "../pkg/reconcile/repair-gate.ts";
import { nodeFiles } from "../pkg/sys/node.ts";
import { attach } from "./controllers/attach/index.ts";
import { checksum } from "./controllers/checksum/checksum.ts";
import { conntrackSettings } from "./controllers/conntrack-settings/index.ts";
import type { ControllerFactory } from "./controllers/context.ts";
import { formerFlows } from "./controllers/former-flows/index.ts";
import { firewall, nodeRules } from "./controllers/node-rules/index.ts";
import { outside } from "./controllers/outside/index.ts";
import { peers } from "./controllers/peers/index.ts";
import { announcedProblems } from "./controllers/peers/peer.ts";
import { podRules } from "./controllers/pod-rules/index.ts";
import { policy } from "./controllers/policy/index.ts";
import { policyFlows } from "./controllers/policy-flows/index.ts";
import { policyLog } from "./controllers/policy-log/index.ts";
import { proxyLeftovers } from "./controllers/proxy-leftovers/index.ts";
import { serviceConntrack } from "./controllers/service-conntrack/index.ts";
import { serviceHealth } from "./controllers/service-health/index.ts";
import { serviceLocalhost, serviceLoopback } from "./controllers/service-localhost/index.ts";
import { services } from "./controllers/services/index.ts";
import type { Runnable } from "./core/controller.ts";
import { joinInTurns, toJson } from "./core/debug-json.ts";
import { Drivers } from "./core/drivers/drivers.ts";
import { ProcessDriver } from "./core/drivers/processes.ts";
import { SettingWatch } from "./core/drivers/setting-watch.ts";
import { assertSettingsIn, settingPath, withSettingsIn } from "./core/drivers/settings-folder.ts";
import { Health } from "./core/health.ts";
import { releaseGarbage, releaseUnused } from "./core/heap.ts";
import { Kernel } from "./core/kernel.ts";
import { claimRunDir } from "./core/liveness.ts";
import type { Logger } from "./core/log.ts";
import { Metrics, repairKind } from "./core/metrics.ts";
import { Runner } from "./core/runner.ts";
import { serveStatus } from "./core/status-server.ts";
import { Facts, Topic } from "./core/topic.ts";
import type { Options } from "./options.ts";
import { openClusterSide } from "./sources/cluster-side.ts";
import type { EventReporter } from "./sources/events.ts";
import { NetConfHolder } from "./sources/net-conf.ts";
import { nodeEvents } from "./sources/node-events.ts";
import { NodeView } from "./sources/node-view.ts";

/** `serviceHealth` publishes whether weftd or kube-proxy serves this node. Without it no Services are programmed. */
const OF_SERVICES: readonly ControllerFactory[] = [
  ...[services, serviceHealth, serviceConntrack, serviceLoopback, serviceLocalhost],
  ...[proxyLeftovers, conntrackSettings],
];

/** One controller for each concern. To add one, create a folder below controllers/ and add a line here. */
export const CONTROLLERS: readonly ControllerFactory[] = [
  // Policies are restored first after another program has removed all tables.
  ...[policy, formerFlows, policyFlows, policyLog, peers, attach, nodeRules, firewall, podRules, checksum],
  ...OF_SERVICES,
];

/** The controllers of a host that is not a node (--no-pods). */
const OUTSIDE_CONTROLLERS: readonly ControllerFactory[] = [outside, ...OF_SERVICES];

/** A rolling update may start this weftd while the old one is being stopped, for which a pod has 30 seconds. */
const PREDECESSOR_LIMIT_MS = 45_000;

/** The time from the first readiness to the collection of the garbage from the start. */
const START_GARBAGE_MS = 2000;

/**
 * Runs `controllers` until `signal` aborts, then stops and leaves the kernel and the conflist in place. Rejects if it
 * cannot start or cannot continue.
 */
export async function runWeftd(
  options: Options,
  log: Logger,
  signal: AbortSignal,
  controllers: readonly ControllerFactory[] = options.pods ? CONTROLLERS : OUTSIDE_CONTROLLERS,
): Promise<void> {
  const closers: (() => void | Promise<void>)[] = [];
  try {
    await start(options, log, signal, controllers, (close) => closers.unshift(close));
  } finally {
    for (const close of closers) await close();
  }
}

async function start(
  options: Options,
  log: Logger,
  signal: AbortSignal,
  controllers: readonly ControllerFactory[],
  atEnd: (close: () => void | Promise<void>) => void,
): Promise<void> {
  const { nodeName, runDir } = options;
  const clock = SYSTEM_CLOCK;
  assertSettingsIn(options.procSys, nodeFiles);
  const netConf = options.pods ? await NetConfHolder.open(options.netConf, log) : NetConfHolder.ofAnyNetwork();
  const health = new Health(clock);
  const metrics = new Metrics();
  const liveness = await claimRunDir(runDir, {
    waitMs: PREDECESSOR_LIMIT_MS,
    signal,
    onWait: () => log.info({ runDir }, "another weftd serves this run directory; waiting for it to end"),
  });
  atEnd(() => liveness.close());

  const kernel = new Kernel(clock);
  atEnd(() => kernel.close());
  const view = new NodeView(nodeName);
  const cluster = await openClusterSide({ options, netConf, view, health, metrics, log, clock });
  atEnd(() => cluster.close());
  const { source, events } = cluster;
  const files = withSettingsIn(options.procSys, nodeFiles);
  const processes = new ProcessDriver({
    ...{ clock, log },
    onTrouble: (owner, name, reasons) => health.warns(`process ${name} of ${owner}`, reasons),
  });
  atEnd(() => processes.stop());
  const firstReady = once(() => atEnd(clock.setTimer(START_GARBAGE_MS, releaseGarbage)));
  const runner = new Runner({
    ...{ clock, kernel: kernel.shared, metrics, log },
    // A pass that fails for a single peer still serves the others.
    onPassEnd: () => {
      if (view.own === undefined || !health.readiness().isGood) return;
      cluster.serves(view.own);
      firstReady();
    },
  });
  atEnd(() => runner.stop());
  health.shows(() => runner.reports());
  metrics.shows(() => runner.reports());
  // After the claim: a predecessor that is being stopped still occupies the port.
  const debugState = async () => toJson(await runner.debugState());
  const debugPage = async (name: string, query: URLSearchParams) => {
    const pieces = runner.debugPage(name, query);
    return pieces === undefined ? undefined : joinInTurns(pieces);
  };
  const status = await serveStatus(options.metricsAddress, { health, metrics, debugState, debugPage });
  atEnd(() => status.close());

  const gateListener = repairReport(metrics, events, log);
  const nodes = new Topic("nodes");
  const netConfChange = new Topic("net-conf");
  const context = {
    ...{
      options,
      clock,
      log,
      health,
      metrics,
      events,
      cluster,
      kernel,
      files,
      ownFiles: nodeFiles,
      facts: new Facts(),
    },
    sources: { view, nodes, netConf, netConfChange },
    drivers: new Drivers({ kernel: kernel.programmer, settings: files, processes }),
    newGate: () => new RepairGate(clock, gateListener),
    watchSettings: (topic: Topic) => {
      const locate = (path: string) => settingPath(options.procSys, path);
      const watch = new SettingWatch(nodeFiles, locate, () => topic.notify({ isPatient: true }));
      atEnd(() => watch.close());
      return watch;
    },
  };
  // All controllers are made before one is started, so that each receives the facts that another publishes at its
  // start.
  const made: Runnable[] = [];
  for (const factory of controllers) {
    const controller = await factory(context);
    if (controller !== undefined) made.push(controller);
  }
  for (const controller of made) runner.start(controller);
  const broken = kernel.listen(runner, metrics);

  atEnd(() => source.stop());
  source.start(
    nodeEvents({ view, clock, health, metrics, events, log, announcedProblems, onChange: () => nodes.notify() }),
  );
  cluster.services?.start();
  atEnd(netConf.follow({ clock, health, log, onChange: () => netConfChange.notify() }));
  const { backend } = netConf.current.conf;
  log.info({ ...(options.pods && { backend }), runDir, metricsPort: status.port }, "weftd runs");

  // Before the lists of objects arrive and the first passes begin, which need most memory.
  releaseUnused();
  await Promise.race([broken, aborted(signal)]);
}

/** Reports repairs by metric, log and Event. */
function repairReport(metrics: Metrics, events: EventReporter, log: Logger): RepairListener {
  return {
    onRepair: ({ kind }) => metrics.repairs.inc({ kind: repairKind(kind) }),
    onContention: (_object, text) => {
      log.warn({ object: text }, "repair keeps being undone by another program; backing off");
      const message = `another program keeps undoing weftd's repair of ${text}; weftd backs off`;
      events.report({ type: "Warning", reason: "RepairUndone", message });
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function once(act: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) act();
    isDone = true;
  };
}
