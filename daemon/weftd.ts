/**
 * The daemon put together: what starts after what, and what ends before what.
 *
 *     node source ──> view ──┐
 *     kernel notifications ──┼──> loop ──> reconciler ──> kernel, node table, conflist
 *     every minute ──────────┘                  └──────> announcer, condition, Events ──> API server
 */
import { SYSTEM_CLOCK } from "../pkg/cluster/clock.ts";
import { BaseChains } from "../pkg/foreign/base-chains.ts";
import { EventedNetlink } from "../pkg/netlink/evented.ts";
import { NETLINK_GENERIC } from "../pkg/netlink/generic.ts";
import { NETLINK_NETFILTER, NETLINK_ROUTE } from "../pkg/netlink/message.ts";
import { RepairGate, type RepairListener } from "../pkg/reconcile/repair-gate.ts";
import { nodeFiles } from "../pkg/sys/node.ts";
import { openEventNetlink } from "../pkg/sys/node-netlink.ts";
import { removeFlannelRules } from "./controllers/attach/flannel-leftovers.ts";
import { ownExecutable, PluginTrial } from "./controllers/attach/plugin-trial.ts";
import { ChecksumGuard } from "./controllers/checksum/checksum-guard.ts";
import { isPortUnreachable } from "./controllers/checksum/port-probe.ts";
import { VtepOffload } from "./controllers/checksum/vtep-offload.ts";
import { Firewall } from "./controllers/node-rules/firewall.ts";
import { LegacyForward } from "./controllers/node-rules/legacy-forward.ts";
import { announcedProblems } from "./controllers/peers/peer.ts";
import { RunFiles } from "./controllers/peers/run-files.ts";
import { keepPodRules } from "./controllers/pod-rules/keep-pod-rules.ts";
import { execute } from "./core/drivers/execute.ts";
import { Programmer } from "./core/drivers/programmer.ts";
import { SettingWatch } from "./core/drivers/setting-watch.ts";
import { assertSettingsIn, settingPath, withSettingsIn } from "./core/drivers/settings-folder.ts";
import { listenToGenerations } from "./core/generations.ts";
import { Health } from "./core/health.ts";
import { claimRunDir } from "./core/liveness.ts";
import type { Logger } from "./core/log.ts";
import { Loop } from "./core/loop.ts";
import { Metrics, repairKind } from "./core/metrics.ts";
import { News } from "./core/news.ts";
import { serveStatus } from "./core/status-server.ts";
import { Keeper } from "./datapath/keeper.ts";
import { listenToKernel } from "./datapath/notifications.ts";
import type { Options } from "./options.ts";
import { Reconciler } from "./reconciler.ts";
import { openClusterSide } from "./sources/cluster-side.ts";
import { NetConfHolder } from "./sources/net-conf.ts";
import { nodeEvents } from "./sources/node-events.ts";
import { NodeView } from "./sources/node-view.ts";

/** A rolling update may start this weftd while the old one is being stopped; a pod is given 30 seconds for that. */
const PREDECESSOR_LIMIT_MS = 45_000;

/** Changes that belong together (a link that comes up brings addresses and routes) come within milliseconds. */
const NOTIFICATION_DELAY_MS = 10;

/** What a failed pass has itself brought about is announced within milliseconds. */
const PATIENCE_MS = 50;

const FULL_COMPARISON_MS = 60_000;
const BACKOFF = { initialMs: 100, maxMs: 10_000 };

const WHERE = "this node";

/**
 * Runs until `signal` aborts, then stops and leaves kernel and conflist as they are. Rejects when it cannot start, or
 * cannot go on.
 */
export async function runWeftd(options: Options, log: Logger, signal: AbortSignal): Promise<void> {
  const closers: (() => void | Promise<void>)[] = [];
  try {
    await start(options, log, signal, (close) => closers.unshift(close));
  } finally {
    for (const close of closers) await close();
  }
}

async function start(
  options: Options,
  log: Logger,
  signal: AbortSignal,
  atEnd: (close: () => void | Promise<void>) => void,
): Promise<void> {
  const { nodeName, runDir } = options;
  const clock = SYSTEM_CLOCK;
  assertSettingsIn(options.procSys, nodeFiles);
  const netConf = await NetConfHolder.open(options.netConf, log);
  const health = new Health(clock);
  const metrics = new Metrics({ addressUse: async () => reconciler.addressUse() });

  const liveness = await claimRunDir(runDir, {
    waitMs: PREDECESSOR_LIMIT_MS,
    signal,
    onWait: () => log.info({ runDir }, "another weftd serves this run directory: waiting for it to end"),
  });
  atEnd(() => liveness.close());
  const programming = openEventNetlink(NETLINK_ROUTE);
  const netlink = new EventedNetlink(programming, WHERE, clock);
  atEnd(() => netlink.close());
  const committing = openEventNetlink(NETLINK_NETFILTER);
  const nftables = new EventedNetlink(committing, WHERE, clock);
  atEnd(() => nftables.close());
  const view = new NodeView(nodeName);
  const cluster = openClusterSide({ options, netConf, view, health, metrics, log, clock });
  atEnd(() => cluster.close());
  const { source, announcer, events } = cluster;
  const bases = new BaseChains();
  const programmer = new Programmer(netlink, nftables, bases);
  const repairListener: RepairListener = {
    onRepair: (object) => metrics.repairs.inc({ kind: repairKind(object.kind) }),
    onContention: (_object, text) => {
      log.warn({ object: text }, "another program undoes what weftd puts back: from now on weftd takes its time");
      const message = `another program undoes again and again what weftd puts back: ${text}; weftd takes its time now`;
      events.report({ type: "Warning", reason: "RepairUndone", message });
    },
  };
  const contention = new RepairGate(clock, repairListener);
  const news = new News();
  const firewall = new Firewall({
    clock,
    programmer,
    gate: contention,
    onBlocked: (reasons) => {
      health.warns("forwarding", reasons);
      const message = reasons.join("; ");
      if (!news.isNews("forwarding", message) || message === "") return;
      log.warn({ reasons }, "another program's chain may drop pods' packets");
      events.report({ type: "Warning", reason: "ForwardingBlocked", message });
    },
  });
  const files = withSettingsIn(options.procSys, nodeFiles);
  const locate = (path: string) => settingPath(options.procSys, path);
  const settingWatch = new SettingWatch(nodeFiles, locate, () => loop.ask("setting", { isPatient: true }));
  atEnd(() => settingWatch.close());
  const legacyForward = new LegacyForward({ files, execute, clock });
  const reconciler = new Reconciler({
    options,
    netConf,
    view,
    onMove: () => cluster.reconnect(),
    later: (reason, delayMs) => loop.ask(reason, { delayMs, isPatient: true }),
    programmer,
    keeper: new Keeper({ options, programmer, firewall, legacyForward, contention, files, settingWatch }),
    announcer,
    runFiles: await RunFiles.open(runDir),
    trial: new PluginTrial(ownExecutable()),
    removeFlannelRules: () => removeFlannelRules({ nftables, files, execute }),
    files,
    events,
    health,
    metrics,
    log,
    clock,
  });
  const generic = new EventedNetlink(openEventNetlink(NETLINK_GENERIC), WHERE, clock);
  atEnd(() => generic.close());
  const checksums = new ChecksumGuard({
    offload: new VtepOffload(generic),
    probe: isPortUnreachable,
    clock,
    metrics,
    log,
    onBroken: (message) => events.report({ type: "Warning", reason: "ChecksumOffloadBroken", message }),
  });
  atEnd(() => checksums.stop());
  // After the claim: a predecessor that is being stopped still holds the port.
  const debugState = () => reconciler.debugState();
  const status = await serveStatus(options.metricsAddress, { health, metrics, debugState });
  atEnd(() => status.close());
  const podRules = keepPodRules({
    ...{ clock, netlink, nftables, bases, health, news, log, files: nodeFiles },
    gate: new RepairGate(clock, repairListener),
    backoff: BACKOFF,
  });
  atEnd(() => podRules.stop());

  const loop = new Loop({
    clock,
    intervalMs: FULL_COMPARISON_MS,
    backoff: BACKOFF,
    // What rests is back the moment it may be.
    promisingMs: () => contention.nextMs(),
    patienceMs: PATIENCE_MS,
    pass: async (reasons) => {
      try {
        await reconciler.pass(reasons);
      } finally {
        checksums.watch(reconciler.devices);
        // A pass that fails for a single peer serves the others.
        if (view.own !== undefined && health.readiness().isGood) cluster.serves(view.own);
      }
    },
    onFailure: (error, retryMs) => reconciler.failed(error, retryMs),
  });
  atEnd(() => loop.stop());

  const firewallLoop = new Loop({
    clock,
    backoff: BACKOFF,
    pass: async () => {
      const restored = await firewall.restore();
      if (restored.length > 0) log.info({ restored }, "rules that another program removed are back");
      const { forwardDueInMs } = firewall;
      if (forwardDueInMs !== undefined) firewallLoop.ask("other programs' chains", { delayMs: forwardDueInMs });
    },
    // A pass says what is wrong.
    onFailure: () => loop.ask("nftables"),
  });
  atEnd(() => firewallLoop.stop());

  const generations = openEventNetlink(NETLINK_NETFILTER);
  generations.ignore(committing.port);
  atEnd(() => generations.close());
  const notifications = openEventNetlink(NETLINK_ROUTE);
  // Thousands of them at a start, of which none would be news.
  notifications.ignore(programming.port);
  atEnd(() => notifications.close());
  const broken = new Promise<never>((_resolve, reject) => {
    listenToGenerations(generations, {
      onBaseChains: (chains) => bases.announced(chains),
      onUnknownChains: () => bases.forget(),
      onChange: () => {
        firewallLoop.ask("generation", { delayMs: firewall.delayMs });
        podRules.rulesetChanged();
      },
      onOverrun: () => {
        metrics.notificationOverruns.inc();
        firewallLoop.ask("announcements were lost");
        podRules.rulesetChanged();
      },
      onBroken: reject,
    });
    listenToKernel(notifications, {
      interest: () => reconciler.interest,
      onChange: (reason, mayBeEcho) => loop.ask(reason, { delayMs: NOTIFICATION_DELAY_MS, isPatient: mayBeEcho }),
      onOverrun: () => {
        metrics.notificationOverruns.inc();
        loop.ask("notifications were lost");
      },
      onBroken: reject,
    });
  });

  atEnd(() => source.stop());
  source.start(
    nodeEvents({ view, clock, health, metrics, events, log, announcedProblems, onChange: () => loop.ask("nodes") }),
  );
  atEnd(netConf.follow({ clock, health, log, onChange: () => loop.ask("net-conf") }));
  log.info({ backend: netConf.current.conf.backend, runDir, metricsPort: status.port }, "weftd runs");

  await Promise.race([broken, aborted(signal)]);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
