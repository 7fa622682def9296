/**
 * One pass: from what is known of the nodes to a kernel that connects them, and to a runtime that is told so. Always a
 * full comparison; there is no other way by which weftd changes the kernel.
 */
import { attribution } from "../pkg/backend/attribution.ts";
import { BACKENDS, backendNamed, backendOf } from "../pkg/backend/backends.ts";
import { type Channels, type KnownDevices, knownDevices } from "../pkg/backend/contributions.ts";
import { desiredState } from "../pkg/backend/desired.ts";
import { type NetConf, settingsOf } from "../pkg/backend/net-conf.ts";
import type { LocalNode, Peer } from "../pkg/backend/node.ts";
import type { DesiredState } from "../pkg/backend/state.ts";
import type { Clock } from "../pkg/cluster/clock.ts";
import type { ClusterNode } from "../pkg/cluster/node/node.ts";
import { RTPROT_WEFT } from "../pkg/footprint.ts";
import { type Address, addressBits, formatAddress } from "../pkg/ip/address.ts";
import { contains, formatPrefix, type Prefix } from "../pkg/ip/prefix.ts";
import type { Files } from "../pkg/sys/system.ts";
import { type AddressUse, countAddresses, reservationsFolder } from "./controllers/attach/address-use.ts";
import { namesOf } from "./controllers/attach/conflist.ts";
import type { ConflistFolder } from "./controllers/attach/conflist-folder.ts";
import { FormerSubnets } from "./controllers/attach/former-subnets.ts";
import { OutsidePods } from "./controllers/attach/outside-pods.ts";
import { RuntimeOffer, type RuntimeOfferParts } from "./controllers/attach/runtime-offer.ts";
import { type GuardedDevice, guardedDevices } from "./controllers/checksum/checksum-guard.ts";
import { type Aim, formatDebugState } from "./controllers/peers/debug-state.ts";
import { OldChannels } from "./controllers/peers/old-channels.ts";
import { OldSenders } from "./controllers/peers/old-senders.ts";
import { announcementOf, localNode, ownSubnets } from "./controllers/peers/own-node.ts";
import { peerOf, sourcesOf } from "./controllers/peers/peer.ts";
import { connectedText, isAboutPeers, PeerConditions, refusedError } from "./controllers/peers/peer-conditions.ts";
import { strictReversePaths } from "./controllers/peers/reverse-path.ts";
import type { RunFiles } from "./controllers/peers/run-files.ts";
import { SourceChange } from "./controllers/peers/source-change.ts";
import { chooseUnderlay, type InterfaceWishes, type UnderlayChoice } from "./controllers/peers/underlay.ts";
import { Attempts } from "./core/attempts.ts";
import type { Programmed, Programmer } from "./core/drivers/programmer.ts";
import type { Health } from "./core/health.ts";
import type { Logger } from "./core/log.ts";
import type { Metrics } from "./core/metrics.ts";
import { News } from "./core/news.ts";
import type { Keeper, Kept } from "./datapath/keeper.ts";
import type { Interest } from "./datapath/notifications.ts";
import type { Options } from "./options.ts";
import type { Announcer } from "./sources/announcer.ts";
import type { EventReporter } from "./sources/events.ts";
import type { NetConfHolder } from "./sources/net-conf.ts";
import type { NodeView } from "./sources/node-view.ts";

export interface ReconcilerParts {
  readonly options: Pick<Options, "nodeName" | "publicIp" | "cniConfDir" | "runDir" | "attach"> & InterfaceWishes;
  readonly netConf: Pick<NetConfHolder, "current">;
  readonly view: NodeView;
  /** This node's packets leave by another link, or from another address: connections of before are dead. */
  readonly onMove: () => void;
  /** Another pass is to follow after `delayMs`. */
  readonly later: (reason: string, delayMs: number) => void;
  readonly programmer: Pick<Programmer, "observe" | "program">;
  readonly keeper: Keeper;
  readonly announcer: Pick<Announcer, "announce">;
  readonly runFiles: Pick<RunFiles, "knownSubnets" | "deviceMacs" | "writeTable" | "writeStamp">;
  /** What weft's plugins do not take of a conflist. */
  readonly trial: RuntimeOfferParts["trial"];
  /** Takes away what flanneld has left; returns what that was, as commands. */
  readonly removeFlannelRules: () => Promise<readonly string[]>;
  readonly files: Files;
  readonly events: EventReporter;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
}

export class Reconciler {
  readonly #parts: ReconcilerParts;
  readonly #news = new News();
  readonly #conditions: PeerConditions;
  readonly #offer: RuntimeOffer;
  readonly #outsidePods: OutsidePods;
  readonly #former: FormerSubnets;
  /** Of the last pass that programmed something. */
  #count = { peers: 0, connected: 0 };
  readonly #oldChannels = new Map(BACKENDS.map((backend) => [backend, new OldChannels()]));
  readonly #oldSenders = new OldSenders();
  readonly #sourceChange = new SourceChange();
  /** Link and addresses that packets to other nodes went by in the last pass. */
  #source: string | undefined;
  /** The interface that was chosen last. */
  #underlay: string | undefined;
  #interest: Interest | undefined;
  #aim: Aim | undefined;
  #folder: ConflistFolder | undefined;
  #devices: readonly GuardedDevice[] = [];

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#conditions = new PeerConditions(parts);
    this.#outsidePods = new OutsidePods({ ...parts, nodeName: parts.options.nodeName });
    this.#former = new FormerSubnets(parts.runFiles.knownSubnets);
    this.#offer = new RuntimeOffer({ ...parts, cniConfDir: parts.options.cniConfDir });
  }

  /** What kernel notifications must be about to matter; undefined before the first pass that programmed something. */
  get interest(): Interest | undefined {
    return this.#interest;
  }

  /** The devices to other nodes as the last pass has left them. */
  get devices(): readonly GuardedDevice[] {
    return this.#devices;
  }

  /** How many of this node's addresses pods have. */
  async addressUse(): Promise<readonly AddressUse[]> {
    if (this.#aim === undefined || this.#folder === undefined) return [];
    return countAddresses(reservationsFolder(this.#folder.predecessor), this.#aim.node.subnets);
  }

  /** What the last pass worked towards against what the kernel holds now, as JSON. */
  async debugState(): Promise<string> {
    const { programmer, health } = this.#parts;
    return formatDebugState(this.#aim, (await programmer.observe()).state, health.readiness().text);
  }

  /** Throws what stood in the way; everything that did not depend on it is done. */
  async pass(reasons: readonly string[]): Promise<void> {
    const { view, health, metrics, clock } = this.#parts;
    const beganMs = clock.nowMs();
    const heardMs = view.takeHeard();
    health.passBegins();
    try {
      await this.#reconcile(reasons, beganMs, heardMs);
      metrics.passes.inc({ result: "success" });
    } catch (error) {
      view.giveBackHeard(heardMs);
      metrics.passes.inc({ result: "failure" });
      throw error;
    } finally {
      health.passEnds();
      metrics.passDuration.observe((clock.nowMs() - beganMs) / 1000);
    }
  }

  /** A pass threw. */
  failed(error: unknown, retryMs: number): void {
    const { health, log } = this.#parts;
    if (isAboutPeers(error, this.#count.peers)) {
      health.holds("reconcile", connectedText(this.#count));
      health.warns("reconcile", [textOf(error)]);
      log.warn({ err: error, retryMs: Math.round(retryMs) }, "the way to single peers is not as it should be");
      return;
    }
    health.fails("reconcile", textOf(error));
    log.error({ err: error, retryMs: Math.round(retryMs) }, "the data path is not as it should be");
  }

  async #reconcile(reasons: readonly string[], beganMs: number, heardMs: readonly number[]): Promise<void> {
    const { options, view, programmer, keeper, announcer, runFiles, health, metrics, log, clock } = this.#parts;
    // One and the same for the whole pass: the file may change meanwhile.
    const { conf, text } = this.#parts.netConf.current;
    const { backend, networks } = conf;
    const known = this.#ownNode(conf);
    if (known === undefined) return;

    const { state, port } = await programmer.observe();
    const wishes = { ...options, internalAddresses: known.own.internalAddresses, last: this.#underlay };
    const underlay = this.#sourceChange.settle(chooseUnderlay(wishes, state), state.addresses, clock.nowMs());
    this.#again("the old address is to go", this.#sourceChange.nextMs(clock.nowMs()));
    this.#underlay = underlay.link.name;
    const node = localNode(options.nodeName, known.subnets, underlay, state.addresses);
    const peers = view.peers.map(peerOf);
    const desired = this.#desire(conf, node, peers, knownDevices(state.links, runFiles.deviceMacs), known.own);
    const { devices } = desired.dataPath;
    this.#noteUnderlay(underlay);
    const deviceMacs = new Map(devices.flatMap(({ name, mac }) => (mac === undefined ? [] : [[name, mac]])));
    const attempts = new Attempts();
    this.#former.serves(known.subnets);
    const formerSubnets = this.#former.all;
    await attempts.try(() => runFiles.writeTable({ netConf: text, node, deviceMacs, peers, formerSubnets }));

    const folder = await attempts.try(() => this.#offer.look());
    const { link } = underlay;
    this.#folder = folder;
    const names = namesOf(folder?.predecessor);
    const reservations = reservationsFolder(folder?.predecessor);
    const senders = this.#oldSenders.with(view.peers.flatMap(sourcesOf), clock.nowMs());
    this.#again("an old sender may go", this.#oldSenders.nextMs(clock.nowMs()));
    const kept = await keeper.keep(
      {
        node,
        underlay: link,
        desired,
        networks,
        senders,
        observed: state,
        ...names,
        reservations,
        former: formerSubnets,
      },
      attempts,
    );
    this.#noteOutside(node, kept);
    const adopt = folder?.predecessor !== undefined;
    const gate = keeper.gate(desired.dataPath);
    const programsMs = clock.nowMs();
    const programmed = await attempts.try(() => programmer.program(desired.dataPath, kept.observed, { adopt, gate }));
    const programMs = rounded(clock.nowMs() - programsMs);
    // Without a data path there is nothing to announce, and nothing to offer to the runtime.
    if (programmed === undefined) return attempts.end();
    this.#aim = { node, peers, desired };
    this.#devices = guardedDevices(desired.dataPath, programmed.state);
    await attempts.try(() => keeper.programmed(desired.dataPath));
    const chosenBy = [...options.ifaceCidr, ...[...options.publicIp, ...known.own.internalAddresses].map(hostPrefix)];
    const interest = interestOf(desired, underlay, node, programmed, port);
    const { bridge, cables } = kept;
    this.#interest = { ...interest, bridge, cables, underlayAddresses: chosenBy };
    const nowMs = clock.nowMs();

    const sent = [...programmed.requests, ...kept.requests];
    for (const { identifier } of sent) metrics.changes.inc({ request: identifier });
    if (kept.rules.length > 0) metrics.changes.inc({ request: "NFT_MSG_NEWTABLE" });
    this.#warnOfReversePath(desired, underlay);
    const connected = this.#conditions.report(
      peers,
      desired.problems,
      programmed,
      attribution(desired, programmed.state),
    );
    this.#count = { peers: peers.length, connected };
    const { settings, rules } = kept;
    const changes = sent.length + settings.length + rules.length;
    const line = {
      reasons,
      changes,
      peers: peers.length,
      connected,
      passMs: rounded(nowMs - beganMs),
      programMs,
      ...(heardMs.length > 0 && { eventToProgrammedMs: rounded(nowMs - Math.min(...heardMs)) }),
      ...(settings.length > 0 && { settings }),
      ...(rules.length > 0 && { rules }),
    };
    if (sent.length > 0 && log.isLevelEnabled("debug"))
      log.debug({ requests: sent.map(({ text }) => text) }, "requests sent");
    if (changes > 0) log.info(line, "data path programmed");
    else if (heardMs.length > 0) log.info(line, "data path is as it should be");
    else log.debug(line, "data path is as it should be");

    announcer.announce(announcementOf(backend, node, known.own, underlay, desired.endpoints), known.own);
    // Those of its own backend carry the node's pods; where it has none, the underlay does.
    const own = devices.filter((device) => device.backend === backend.type).map(({ name }) => name);
    const carrying = own.length > 0 ? own : [underlay.link.name];
    await attempts.try(() => runFiles.writeStamp({ backend: backend.type, devices: carrying }));
    const offered = {
      attach: options.attach,
      subnets: node.subnets,
      networks,
      mtu: desired.podMtu,
      executable: backendOf(backend).executable,
      runDir: options.runDir,
    };
    if (folder !== undefined) await attempts.try(() => this.#offer.make(offered, folder));
    await attempts.try(() => {
      if (programmed.refusals.length > 0) throw refusedError(programmed.refusals, this.#count);
    });
    attempts.end();
    for (const ms of heardMs) metrics.programmingLatency.observe((nowMs - ms) / 1000);
    health.warns("reconcile", []);
    health.holds("reconcile", connectedText(this.#count));
  }

  /** With the channels that this node itself, or the peers that have not heard of it, may still be sent to by. */
  #desire(conf: NetConf, node: LocalNode, peers: readonly Peer[], known: KnownDevices, own: ClusterNode): DesiredState {
    const nowMs = this.#parts.clock.nowMs();
    const announced = announcedChannels(conf, peerOf(own));
    const needed = desiredState(conf, node, peers, known, announced);
    const kept = new Map<string, readonly unknown[]>();
    for (const [backend, old] of this.#oldChannels) {
      const devices = needed.dataPath.devices.filter((device) => device.backend === backend.name);
      const had = backend.channels.of(known.get(backend.name) ?? []);
      const still = old.kept(had, backend.channels.in(devices), nowMs);
      this.#again("an old VTEP may go", old.nextMs(nowMs));
      if (still.length > 0) kept.set(backend.name, [...(announced.get(backend.name) ?? []), ...still]);
    }
    return kept.size === 0 ? needed : desiredState(conf, node, peers, known, new Map([...announced, ...kept]));
  }

  #noteOutside({ subnets }: LocalNode, { renumbering }: Kept): void {
    if (renumbering === undefined) return;
    const { outside, former } = renumbering;
    const isUsed = (subnet: Prefix) => outside.some(({ address }) => contains(subnet, address));
    this.#former.seen(former, isUsed, this.#parts.clock.nowMs());
    this.#outsidePods.report(subnets, outside);
  }

  #again(reason: string, delayMs: number | undefined): void {
    if (delayMs !== undefined) this.#parts.later(reason, delayMs);
  }

  /** This node and its subnets; undefined, and said why, while they are not known. */
  #ownNode(conf: NetConf): { readonly own: ClusterNode; readonly subnets: readonly Prefix[] } | undefined {
    const { view, options, health, log } = this.#parts;
    // An absent peer may merely not have been heard of: nothing is compared, so nothing is removed.
    if (!view.isSynced) return undefined;
    const { own } = view;
    const found = ownSubnets(options.nodeName, own, conf);
    if (own === undefined || typeof found === "string") {
      const reason = String(found);
      health.fails("subnet", reason);
      if (this.#news.isNews("subnet", reason)) log.warn({ reason }, "waiting for this node's subnet");
      return undefined;
    }
    const { subnets, unused } = found;
    const text = subnets.map(formatPrefix).join(", ");
    health.holds("subnet", text);
    health.warns("subnet", unused);
    if (this.#news.isNews("unused podCIDRs", unused.join("; ")) && unused.length > 0)
      log.warn({ unused }, "no pod gets an address of some of this node's podCIDRs");
    if (this.#news.isNews("subnet", text))
      log.info({ subnets: subnets.map(formatPrefix) }, "this node's subnet is known");
    return { own, subnets };
  }

  #noteUnderlay({ link, ipv4, ipv6, reason }: UnderlayChoice): void {
    const addresses = [ipv4, ipv6].flatMap((one) => (one === undefined ? [] : [formatAddress(one.announced)]));
    const line = { interface: link.name, addresses, mtu: link.mtu, reason };
    if (this.#news.isNews("underlay", JSON.stringify(line))) this.#parts.log.info(line, "underlay chosen");
    const source = [link.index, ...[ipv4, ipv6].map((one) => one && formatAddress(one.local))].join();
    if (this.#source !== undefined && this.#source !== source) this.#parts.onMove();
    this.#source = source;
  }

  #warnOfReversePath({ isAsymmetric, dataPath }: DesiredState, { link }: UnderlayChoice): void {
    const { files, health, events, log } = this.#parts;
    const devices = [link.name, ...dataPath.devices.map(({ name }) => name)];
    const warnings = isAsymmetric ? strictReversePaths(files, devices) : [];
    health.warns("rp_filter", warnings);
    if (!this.#news.isNews("rp_filter", warnings.join("\n")) || warnings.length === 0) return;
    log.warn({ warnings }, "strict reverse path filtering drops packets of some peers");
    for (const message of warnings) events.report({ type: "Warning", reason: "StrictReversePath", message });
  }
}

function interestOf(
  { dataPath }: DesiredState,
  { link }: UnderlayChoice,
  { subnets }: LocalNode,
  { state }: Programmed,
  ownPort: number,
): Omit<Interest, "bridge" | "cables" | "underlayAddresses"> {
  const devices = new Set(dataPath.devices.map(({ name }) => name));
  const indexesOf = (names: ReadonlySet<string>) =>
    new Set(state.links.filter(({ name }) => names.has(name)).map(({ index }) => index));
  const linkNames = new Set([link.name, ...devices]);
  return {
    linkNames,
    linkIndexes: indexesOf(linkNames),
    deviceIndexes: indexesOf(devices),
    // Those of our own subnets are the kernel's, and as dear.
    destinations: new Set([...dataPath.routes.map(({ destination }) => destination), ...subnets].map(formatPrefix)),
    routeProtocol: RTPROT_WEFT,
    ownPort,
  };
}

/** What this node was announced to receive by, as it was last heard. */
function announcedChannels(conf: NetConf, own: Peer): Channels {
  const backend = backendNamed(own.backendType);
  const settings = backend && settingsOf(conf, backend);
  return new Map(settings && backend ? [[backend.name, backend.channels.to(settings, own)]] : []);
}

function hostPrefix(address: Address): Prefix {
  return { address, length: addressBits(address.family) };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
