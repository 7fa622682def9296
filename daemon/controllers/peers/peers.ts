/**
 * Maintains the data path to other nodes: programs the kernel from the known nodes, and announces this node to its
 * peers. Changes of single Nodes are programmed without a dump (`node-changes.ts`); all other passes are full comparisons.
 */
import { isDeepStrictEqual } from "node:util";
import { attribution } from "../../../pkg/backend/attribution.ts";
import { backendOf } from "../../../pkg/backend/backends.ts";
import { knownDevices } from "../../../pkg/backend/contributions.ts";
import type { NetConf } from "../../../pkg/backend/net-conf.ts";
import type { LocalNode } from "../../../pkg/backend/node.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { contains, overlaps, type Prefix } from "../../../pkg/ip/prefix.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import { type DataPath, planDataPath } from "../../../pkg/reconcile/data-path.ts";
import { requestStep, type StepPlan } from "../../../pkg/reconcile/plan-step.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import { Attempts } from "../../core/attempts.ts";
import type { Apply, Controller, Pass, PlanOutcome, Subscriptions } from "../../core/controller.ts";
import { errorsOf } from "../../core/controller-pass.ts";
import type { Health } from "../../core/health.ts";
import type { Logger } from "../../core/log.ts";
import type { Metrics } from "../../core/metrics.ts";
import type { KernelView, Observation } from "../../core/shared-kernel.ts";
import type { Fact, Facts } from "../../core/topic.ts";
import type { InterfaceOptions, Options } from "../../options.ts";
import type { Announcer } from "../../sources/announcer.ts";
import type { ConflistFolder } from "../../sources/conflist-folder.ts";
import type { EventReporter } from "../../sources/events.ts";
import type { Sources } from "../context.ts";
import {
  ATTACHED,
  FIREWALLED,
  GUARDED_DEVICES,
  NODE_CHOICE,
  type NodeChoice,
  PEER_ADDRESSES,
  PODS_SEEN,
  PROGRAMMED_WAY,
} from "../facts.ts";
import type { PassTarget } from "./debug-state.ts";
import { DesiredPath } from "./desired-path.ts";
import { Followers } from "./followers.ts";
import { FormerSubnets } from "./former-subnets.ts";
import { guardedDevices, needsPeers, withPeers } from "./guarded-devices.ts";
import { NodeChanges, type ProgrammedChange } from "./node-changes.ts";
import { filterOf, hostPrefix, type PeersFilter, peersTrigger, withEntries } from "./notification-filter.ts";
import { OldSenders } from "./old-senders.ts";
import { announcementOf, localNode } from "./own-node.ts";
import { OwnNodeReport } from "./own-node-report.ts";
import { peerOf, sourcesOf } from "./peer.ts";
import { connectedText, isAboutPeers, PeerConditions, refusedError } from "./peer-conditions.ts";
import type { RunFiles } from "./run-files.ts";
import { SourceChange } from "./source-change.ts";
import { chooseUnderlay, type UnderlayChoice } from "./underlay.ts";
import { settledBy, tableOf, type WantedWay } from "./wanted-way.ts";

export interface PeersParts {
  readonly options: Pick<Options, "nodeName" | "publicIp"> & InterfaceOptions;
  readonly sources: Sources;
  readonly facts: Facts;
  /**
   * Called when this node's packets leave through another link or from another address: earlier connections are dead.
   */
  readonly onMove: () => void;
  /** Reads the conflists, which show whether weft takes over a network. */
  readonly conflists: () => Promise<ConflistFolder>;
  readonly announcer: Pick<Announcer, "announce">;
  readonly runFiles: Pick<
    RunFiles,
    "knownSubnets" | "deviceMacs" | "writeTable" | "changeTable" | "writeStamp" | "renewStamp"
  >;
  readonly files: Files;
  readonly events: EventReporter;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
}

const FULL_COMPARISON_MS = 60_000;

export class PeersController implements Controller<WantedWay, Observation> {
  readonly name = "peers";
  readonly subscriptions: Subscriptions;
  readonly #parts: PeersParts;
  readonly #report: OwnNodeReport;
  readonly #conditions: PeerConditions;
  readonly #former: FormerSubnets;
  readonly #desiredPath: DesiredPath;
  readonly #oldSenders = new OldSenders();
  readonly #sourceChange = new SourceChange();
  /** The counts of the last pass. */
  #count = { peers: 0, connected: 0 };
  /** The link and the addresses from which packets to other nodes left in the last pass. */
  #source: string | undefined;
  /** The interface that was chosen last. */
  #underlay: string | undefined;
  #filter: PeersFilter | undefined;
  #target: PassTarget | undefined;
  /**
   * The data path that the last pass has programmed. A difference from it now means that another program changed it.
   */
  #dataPath: DataPath | undefined;
  /** Arrival times of the events that this pass programs. */
  #heardMs: readonly number[] = [];
  readonly #followers: Followers;
  readonly #changes: NodeChanges;
  #beganMs = 0;
  #programsMs = 0;
  #programmedMs = 0;

  constructor(parts: PeersParts) {
    const { sources, facts } = parts;
    this.#parts = parts;
    this.#report = new OwnNodeReport(parts);
    this.#conditions = new PeerConditions(parts);
    this.#followers = new Followers(parts.clock);
    this.#desiredPath = new DesiredPath(parts.clock);
    this.#former = new FormerSubnets(parts.runFiles.knownSubnets);
    this.#changes = new NodeChanges({ ...parts, oldSenders: this.#oldSenders, followers: this.#followers });
    this.subscriptions = {
      topics: [sources.nodes, sources.netConfChange, facts.of(PODS_SEEN)],
      reasonFor: (message: Message) => {
        const trigger = peersTrigger(message, this.#filter);
        if (trigger !== undefined) this.#changes.doubts();
        return trigger;
      },
      intervalMs: FULL_COMPARISON_MS,
    };
  }

  /** Selects the relevant kernel notifications; undefined before the first pass that programmed something. */
  get filter(): PeersFilter | undefined {
    return this.#filter;
  }

  /** The desired state of the last pass. */
  get target(): PassTarget | undefined {
    return this.#target && { ...this.#target, desired: this.#changes.state ?? this.#target.desired };
  }

  async change(pass: Pass, apply: Apply): Promise<boolean> {
    const { sources, clock } = this.#parts;
    this.#beganMs = clock.nowMs();
    this.#heardMs = sources.view.takeHeard();
    const programmed = await this.#changes.program(pass, apply, ({ before, after }) => {
      this.#filter = this.#filter && withEntries(this.#filter, before, after);
    });
    if (programmed !== undefined) await this.#changed(pass, programmed);
    return programmed !== undefined;
  }

  async desired(pass: Pass): Promise<WantedWay | undefined> {
    const { options, sources, runFiles, clock } = this.#parts;
    const { view } = sources;
    this.#changes.compares();
    this.#heardMs = [...this.#heardMs, ...view.takeHeard()];
    // Read once for the entire pass, because the file may change in the meantime.
    const { conf, text } = sources.netConf.current;
    const known = this.#report.ownNode(view, conf);
    if (known === undefined) return this.#changes.doubts(); // The changes since the last pass are not programmed.

    const { state } = await pass.kernel.snapshot();
    const criteria = { ...options, internalAddresses: known.own.internalAddresses, last: this.#underlay };
    const underlay = this.#sourceChange.settle(chooseUnderlay(criteria, state), state.addresses, clock.nowMs());
    again(pass, "the old address expires", this.#sourceChange.nextMs(clock.nowMs()));
    this.#underlay = underlay.link.name;
    const node = localNode(options.nodeName, known.subnets, underlay, state.addresses);
    const nodes = view.peers;
    const peers = nodes.map(peerOf);
    const devices = knownDevices(state.links, runFiles.deviceMacs);
    const { basis, state: desired, nextMs } = this.#desiredPath.compute(conf, node, peers, devices, peerOf(known.own));
    again(pass, "an old VTEP expires", nextMs);
    this.#noteUnderlay(underlay);
    this.#noteFormer(known.subnets);
    const senders = this.#oldSenders.with(nodes.flatMap(sourcesOf), clock.nowMs());
    again(pass, "an old sender expires", this.#oldSenders.nextMs(clock.nowMs()));
    const choice = this.#publish(conf, node, underlay, desired);
    const addresses = published(this.#parts.facts.of(PEER_ADDRESSES), {
      choice,
      senders,
      unmasqueraded: desired.unmasqueraded,
    });
    // `attach` reports a directory that cannot be read.
    const folder = await this.#parts.conflists().catch(() => undefined);
    const adopt = folder?.predecessor !== undefined;
    const wanted = { conf, netConf: text, own: known.own, node, peers, underlay, state: desired, choice };
    return { ...wanted, nodes, basis, addresses, adopt };
  }

  /** Writes the node table first: an executable that acts for a weftd that died must not restore a removed peer. */
  async prepare(wanted: WantedWay): Promise<void> {
    const { runFiles, clock } = this.#parts;
    try {
      await runFiles.writeTable({ ...tableOf(wanted), peers: wanted.peers });
    } finally {
      await this.#awaitFollowers(wanted);
      this.#programsMs = clock.nowMs();
    }
  }

  observe(kernel: KernelView): Promise<Observation> {
    return kernel.snapshot();
  }

  plan({ state: { dataPath }, adopt }: WantedWay, { state }: Observation): StepPlan {
    const { requests, isComplete, conflicts } = planDataPath(dataPath, state, { adopt });
    const last = this.#changes.state?.dataPath ?? this.#dataPath;
    const isRepair = requests.length > 0 && last !== undefined && isDeepStrictEqual(last, dataPath);
    return { steps: requests.map((request) => requestStep(request, isRepair)), isComplete, conflicts };
  }

  /** Refusals about single peers are not failures of the node; `settled` evaluates them. */
  errorsOf({ isComplete, failures }: PlanOutcome<WantedWay, Observation>): readonly unknown[] {
    return errorsOf(isComplete ? failures.filter(({ error }) => !(error instanceof NetlinkError)) : failures);
  }

  async settled(pass: Pass, outcome: PlanOutcome<WantedWay, Observation>): Promise<void> {
    const { desired, observed, isComplete, failures, conflicts } = outcome;
    const { announcer, runFiles, facts, clock } = this.#parts;
    // Without a data path, nothing is announced and no conflist is written.
    if (!isComplete || failures.some(({ error }) => !(error instanceof NetlinkError))) return;
    const { conf, own, node, peers, underlay, state } = desired;
    const { dataPath } = state;
    this.#target = { node, peers, desired: state };
    this.#dataPath = dataPath;
    this.#filter = filterOf(state, underlay, node, observed, this.#chosenBy(own));
    this.#programmedMs = clock.nowMs();
    const guarded = guardedDevices(dataPath, observed.state);
    facts.of(GUARDED_DEVICES).publish(guarded);

    const refusals = failures.flatMap(({ error }) => (error instanceof NetlinkError ? [error] : []));
    this.#report.reversePaths(state, underlay);
    const connected = this.#conditions.report(
      peers,
      state.problems,
      { conflicts, refusals },
      attribution(state, observed.state),
    );
    this.#count = { peers: peers.length, connected };
    this.#log(
      pass,
      outcome.done.flatMap((step) => (step.kind === "request" ? [step.request] : [])),
    );

    const { backend } = conf;
    announcer.announce(announcementOf(backend, node, own, underlay, state.endpoints), own);
    // The devices of the node's own backend carry its pods' packets. If there are none, the underlay does.
    const carrying = dataPath.devices.filter((device) => device.backend === backend.type).map(({ name }) => name);
    const devices = carrying.length > 0 ? carrying : [underlay.link.name];
    const attempts = new Attempts();
    await attempts.try(() => runFiles.writeStamp({ backend: backend.type, devices }));
    // Publish after the stamp: once the conflist exists, an executable reads the stamp.
    const { networks, podMtu, executable } = desired.choice;
    facts.of(PROGRAMMED_WAY).publish({
      ...{ networks, podMtu, executable, subnets: node.subnets },
      devices: guarded.map(({ name, index }) => ({ name, index })),
    });
    if (refusals.length > 0) await attempts.try(() => Promise.reject(refusedError(refusals, this.#count)));
    this.#changes.settle(settledBy(outcome));
    attempts.end();
  }

  /** Reports a change of single peers. */
  async #changed(pass: Pass, { peers, slices, requests, programsMs }: ProgrammedChange): Promise<void> {
    const { runFiles, facts, clock } = this.#parts;
    this.#programmedMs = clock.nowMs();
    this.#programsMs = programsMs;
    this.#dataPath = undefined; // From now on, only `#changes` has the desired state.
    const connected = this.#conditions.report(peers, slices.problems, { conflicts: [], refusals: [] }, () => undefined);
    this.#count = { peers: peers.length, connected };
    if (this.#target !== undefined) this.#target = { ...this.#target, peers };
    const guarded = facts.of(GUARDED_DEVICES);
    if (guarded.value?.some(needsPeers) === true) guarded.publish(withPeers(guarded.value, slices.state.dataPath));
    this.#log(pass, requests);
    await runFiles.renewStamp();
  }

  succeeded(): void {
    const { health, metrics, sources } = this.#parts;
    this.#ended("success");
    // While the node's subnet is unknown, nothing was compared.
    if (!sources.view.isSynced || !health.isHolding("subnet")) return;
    for (const ms of this.#heardMs) metrics.programmingLatency.observe((this.#programmedMs - ms) / 1000);
    health.warns("reconcile", []);
    health.holds("reconcile", connectedText(this.#count));
  }

  failed(error: unknown, retryMs: number): void {
    const { health, log, sources } = this.#parts;
    this.#changes.doubts();
    sources.view.giveBackHeard(this.#heardMs);
    this.#ended("failure");
    const text = error instanceof Error ? error.message : String(error);
    if (isAboutPeers(error, this.#count.peers)) {
      health.holds("reconcile", connectedText(this.#count));
      health.warns("reconcile", [text]);
      log.warn({ err: error, retryMs: Math.round(retryMs) }, "the data path to single peers is not programmed");
      return;
    }
    health.fails("reconcile", text);
    log.error({ err: error, retryMs: Math.round(retryMs) }, "the data path is not programmed");
  }

  #ended(result: "success" | "failure"): void {
    const { metrics, clock } = this.#parts;
    metrics.passes.inc({ result });
    metrics.passDuration.observe((clock.nowMs() - this.#beganMs) / 1000);
  }

  #publish(
    { backend, networks }: NetConf,
    node: LocalNode,
    { link }: UnderlayChoice,
    { dataPath, podMtu, tunnels }: DesiredState,
  ): NodeChoice {
    const former = this.#former.all;
    const isFormer = (subnet: Prefix) => former.some((one) => overlaps(one, subnet));
    return published(this.#parts.facts.of(NODE_CHOICE), {
      ...{ node, networks, podMtu, tunnels, former },
      underlayName: link.name,
      executable: backendOf(backend).executable,
      devices: dataPath.devices.map(({ name }) => name),
      takenSubnets: former.length === 0 ? [] : dataPath.routes.map(({ destination }) => destination).filter(isFormer),
    });
  }

  /** Keeps former subnets in which `attach` has seen pods. The others expire. */
  #noteFormer(subnets: readonly Prefix[]): void {
    const { renumbering } = this.#parts.facts.of(PODS_SEEN).value ?? {};
    if (renumbering !== undefined) {
      const { outside, former } = renumbering;
      const isUsed = (subnet: Prefix) => outside.some(({ address }) => contains(subnet, address));
      this.#former.seen(former, isUsed, this.#parts.clock.nowMs());
    }
    this.#former.serves(subnets);
  }

  /**
   * Waits for the rules that accept a peer's packets, so that they are programmed before its routes. If a peer has a
   * former subnet of this node, also waits for the removal of its gateway's address from the bridge, because the kernel
   * refuses the peer's routes while that address exists.
   */
  async #awaitFollowers({ choice, addresses }: WantedWay): Promise<void> {
    const { facts } = this.#parts;
    await this.#followers.caughtUp(facts.of(FIREWALLED), addresses);
    if (choice.takenSubnets.length > 0) await this.#followers.caughtUp(facts.of(ATTACHED), choice);
  }

  #chosenBy({ internalAddresses }: ClusterNode): readonly Prefix[] {
    const { ifaceCidr, publicIp } = this.#parts.options;
    return [...ifaceCidr, ...[...publicIp, ...internalAddresses].map(hostPrefix)];
  }

  #noteUnderlay(choice: UnderlayChoice): void {
    const { link, ipv4, ipv6 } = choice;
    this.#report.underlay(choice);
    const source = [link.index, ...[ipv4, ipv6].map((one) => one && formatAddress(one.local))].join();
    if (this.#source !== undefined && this.#source !== source) this.#parts.onMove();
    this.#source = source;
  }

  #log({ reasons }: Pass, requests: ProgrammedChange["requests"]): void {
    const { log, metrics } = this.#parts;
    for (const { identifier } of requests) metrics.changes.inc({ request: identifier });
    const line = {
      reasons,
      changes: requests.length,
      ...this.#count,
      passMs: rounded(this.#programmedMs - this.#beganMs),
      programMs: rounded(this.#programmedMs - this.#programsMs),
      ...(this.#heardMs.length > 0 && {
        eventToProgrammedMs: rounded(this.#programmedMs - Math.min(...this.#heardMs)),
      }),
    };
    if (requests.length > 0 && log.isLevelEnabled("debug"))
      log.debug({ requests: requests.map(({ text }) => text) }, "requests sent");
    if (requests.length > 0) log.info(line, "data path programmed");
    else if (this.#heardMs.length > 0) log.info(line, "data path unchanged");
    else log.debug(line, "data path unchanged");
  }
}

/** Publishes a value and returns it, or the equal one that was published before. */
function published<T>(fact: Fact<T>, value: T): T {
  fact.publish(value);
  return fact.value ?? value;
}

function again(pass: Pass, reason: string, delayMs: number | undefined): void {
  if (delayMs !== undefined) pass.later(reason, delayMs);
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
