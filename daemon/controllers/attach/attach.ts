/**
 * Maintains this node's pods: the bridge, the links of single pods, the proxying between both kinds, and the conflist
 * for the container runtime. Begins when `peers` has chosen underlay and subnets.
 */
import { isDeepStrictEqual } from "node:util";
import { hasOtherAddress, type Renumbering, renumberingOf } from "../../../pkg/backend/renumbering.ts";
import type { Address } from "../../../pkg/ip/address.ts";
import { contains, firstHost, formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { Reservation } from "../../../pkg/ipam/reservation.ts";
import { ownerMark } from "../../../pkg/kernel/owner.ts";
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import { sysctlPath } from "../../../pkg/kernel/sysctl.ts";
import { RTM_DELADDR } from "../../../pkg/netlink/address.ts";
import { isExists, isGone, NetlinkError } from "../../../pkg/netlink/errors.ts";
import { RTM_DELLINK } from "../../../pkg/netlink/link.ts";
import type { ObjectKind } from "../../../pkg/netlink/message.ts";
import { type PlanStep, requestStep, type StepPlan } from "../../../pkg/reconcile/plan-step.ts";
import { type PodBridge, planLeftBridge, planPodBridge } from "../../../pkg/reconcile/pod-bridge.ts";
import { NO_ENDS, type PodEnds, podEnds } from "../../../pkg/reconcile/pod-ends.ts";
import { ContentionError, type RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import { completePods, planRoutedPods, type RoutedPod } from "../../../pkg/reconcile/routed-pods.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import { Attempts } from "../../core/attempts.ts";
import type { Controller, Pass, PlanOutcome, Subscriptions } from "../../core/controller.ts";
import { errorsOf } from "../../core/controller-pass.ts";
import type { Programmer } from "../../core/drivers/programmer.ts";
import type { SettingWatch } from "../../core/drivers/setting-watch.ts";
import type { Health } from "../../core/health.ts";
import type { Logger } from "../../core/log.ts";
import type { AddressUse, Metrics } from "../../core/metrics.ts";
import type { KernelView, Observation } from "../../core/shared-kernel.ts";
import type { Facts, Subscribable } from "../../core/topic.ts";
import type { Options } from "../../options.ts";
import type { ConflistFolder } from "../../sources/conflist-folder.ts";
import { type BridgeNames, namesOf } from "../../sources/predecessor.ts";
import { ATTACHED, NODE_CHOICE, type NodeChoice, PODS_SEEN, POLICY_STATE, PROGRAMMED_WAY } from "../facts.ts";
import { countAddresses, reservationsFolder } from "./address-use.ts";
import { BridgeMemory } from "./bridge-memory.ts";
import { networkPolicyKey } from "./conflist.ts";
import { type AttachFilter, attachReason } from "./notification-filter.ts";
import type { OutsidePods } from "./outside-pods.ts";
import { PodProxy } from "./pod-proxy.ts";
import { Reservations } from "./reservations.ts";
import type { RuntimeOffer } from "./runtime-offer.ts";

export interface AttachParts {
  readonly options: Pick<Options, "attach" | "runDir" | "guardSenders">;
  readonly facts: Facts;
  readonly programmer: Pick<Programmer, "answerFor">;
  /** Used by this controller alone. */
  readonly contention: RepairGate;
  readonly files: Files;
  readonly settingWatch: Pick<SettingWatch, "follow">;
  /** Notified when another program has written a setting that `settingWatch` watches. */
  readonly settingChange: Subscribable;
  readonly offer: Pick<RuntimeOffer, "look" | "make">;
  readonly outsidePods: Pick<OutsidePods, "report">;
  readonly health: Pick<Health, "holds" | "fails" | "warns">;
  readonly metrics: Pick<Metrics, "changes">;
  readonly log: Logger;
}

export interface WantedPods extends BridgeNames {
  readonly choice: NodeChoice;
  /** Undefined if the directory cannot be read. */
  readonly folder: ConflistFolder | undefined;
  /** The directory in which host-local records the owner of each address. */
  readonly reservations: string;
}

export interface SeenPods extends Observation {
  readonly ends: PodEnds;
  /** Undefined if the directory cannot be read. */
  readonly reserved: readonly Reservation[] | undefined;
  /** Undefined if the running pods are unknown. */
  readonly renumbering: Renumbering | undefined;
}

type Outcome = PlanOutcome<WantedPods, SeenPods>;

const FULL_COMPARISON_MS = 60_000;

export class AttachController implements Controller<WantedPods, SeenPods> {
  readonly name = "attach";
  readonly subscriptions: Subscriptions;
  readonly #parts: AttachParts;
  readonly #bridge = new BridgeMemory();
  readonly #reservations: Reservations;
  readonly #podProxy: PodProxy;
  #ends = NO_ENDS;
  /** Marks of the pods' own links that have been complete at least once. */
  #whole: ReadonlySet<string> = new Set();
  #hadPods = false;
  /** The addresses that the last pass has configured on the bridge. */
  #bridgeAddresses: Pick<PodBridge, "gateways" | "former"> | undefined;
  #filter: AttachFilter | undefined;
  #folder: ConflistFolder | undefined;
  /** Errors of reads during this pass. */
  #problems: unknown[] = [];
  #gatewayChanges = 0;

  constructor(parts: AttachParts) {
    const { facts, files, health } = parts;
    this.#parts = parts;
    this.#reservations = new Reservations(files);
    this.#podProxy = new PodProxy(parts);
    this.subscriptions = {
      topics: [facts.of(NODE_CHOICE), facts.of(PROGRAMMED_WAY), facts.of(POLICY_STATE), parts.settingChange],
      reasonFor: (message) => {
        const reason = this.#filter && attachReason(message, this.#filter);
        return reason === undefined ? undefined : { reason, isPatient: message.portId === 0 };
      },
      intervalMs: FULL_COMPARISON_MS,
    };
    health.fails("reconcile", "not tried yet", this.name);
  }

  /** Selects the relevant kernel notifications; undefined before the first pass. */
  get filter(): AttachFilter | undefined {
    return this.#filter;
  }

  /** Returns how many of this node's addresses pods use. */
  async addressUse(): Promise<readonly AddressUse[]> {
    const { node } = this.#parts.facts.of(NODE_CHOICE).value ?? {};
    if (node === undefined || this.#folder === undefined) return [];
    return countAddresses(reservationsFolder(this.#folder.predecessor), node.subnets);
  }

  async desired(): Promise<WantedPods | undefined> {
    const { facts, offer } = this.#parts;
    const choice = facts.of(NODE_CHOICE).value;
    if (choice === undefined) return undefined;
    this.#problems = [];
    this.#folder = await this.#read(() => offer.look());
    const { predecessor } = this.#folder ?? {};
    const reservations = reservationsFolder(predecessor);
    return { ...namesOf(predecessor), choice, folder: this.#folder, reservations };
  }

  /** Reads reservations only if there may be pods outside the node's subnets, or pods with links of their own. */
  async observe(kernel: KernelView, wanted: WantedPods): Promise<SeenPods> {
    const { choice, network, bridge } = wanted;
    const observation = await kernel.snapshot();
    const { state } = observation;
    this.#ends = podEnds(network, this.#parts.options.attach, state, this.#ends);
    const hasRoutedPods = this.#hasRoutedPods;
    const { former } = choice;
    const { subnets } = choice.node;
    const ends = this.#ends;
    if (former.length === 0 && !hasRoutedPods && !hasOtherAddress({ bridge, subnets }, state)) {
      const renumbering = { outside: [], former, retained: { gateways: [], hosts: [] } };
      return { ...observation, ends, reserved: undefined, renumbering };
    }
    const reserved = await this.#read(() => this.#reservations.in(wanted.reservations));
    // If weftd cannot read the directory, it does not know the pods that are attached to the bridge.
    const isUnknown = reserved === undefined && hasPorts(bridge, state);
    const numbers = { network, bridge, routed: ends.routed, subnets, former, peerSubnets: choice.takenSubnets };
    const renumbering = isUnknown ? undefined : renumberingOf(numbers, reserved ?? [], state);
    return { ...observation, ends, reserved, renumbering };
  }

  plan(wanted: WantedPods, seen: SeenPods): StepPlan {
    const parts = this.planParts(wanted, seen);
    return {
      steps: parts.flatMap(({ steps }) => steps),
      isComplete: parts.every(({ isComplete }) => isComplete),
      conflicts: parts.flatMap(({ conflicts }) => conflicts),
    };
  }

  /** Returns one plan for the bridge, and one for the pods with links of their own if there are any. */
  planParts(wanted: WantedPods, seen: SeenPods): readonly Required<StepPlan>[] {
    const bridge = this.#planBridge(wanted, seen);
    return this.#hasRoutedPods ? [bridge, this.#planRoutedPods(wanted, seen)] : [bridge];
  }

  /**
   * Does not count a refusal for an object that vanished with its pod, unless an object that it depends on is missing.
   */
  errorsOf({ failures, conflicts, isComplete }: Outcome): readonly unknown[] {
    const isPassing = (error: unknown) => error instanceof NetlinkError && (isGone(error) || isExists(error));
    const isFailure = (error: unknown) => !isComplete || !isPassing(error);
    return [
      ...this.#problems,
      ...errorsOf(failures.filter(({ error }) => isFailure(error))),
      ...(conflicts.length > 0 ? [new Error(conflicts.join("; "))] : []),
    ];
  }

  async settled({ reasons, later }: Pass, outcome: Outcome): Promise<void> {
    const { desired: wanted, observed: seen, done } = outcome;
    const { facts, outsidePods, settingWatch, metrics } = this.#parts;
    const attempts = new Attempts();
    const { choice } = wanted;
    const bridge = this.#bridgeAfter(wanted, seen, done);
    this.#filter = this.#filterOf(wanted, seen, bridge);
    const proxy = await this.#podProxy.keep(
      {
        families: familiesOf(choice.node.subnets),
        bridge,
        podAddresses: this.#routedPodsOf(wanted, seen).flatMap(({ podAddresses }) => podAddresses),
        isWanted: this.#hasPorts && this.#hasRoutedPods,
      },
      attempts,
    );
    settingWatch.follow(proxy.watched.map(({ name }) => sysctlPath(name)));
    this.#hadPods = this.#hasPorts;
    this.#bridgeAddresses = addressesOf(this.#wantedBridge(wanted, seen));

    const requests = [...done.flatMap((step) => (step.kind === "request" ? [step.request] : [])), ...proxy.requests];
    for (const { identifier } of requests) metrics.changes.inc({ request: identifier });
    if (requests.some(({ identifier }) => GATEWAY_REMOVALS.has(identifier))) this.#gatewayChanges += 1;
    this.#log(
      reasons,
      requests.map(({ text }) => text),
      proxy.settings,
    );
    const { renumbering } = seen;
    facts.of(PODS_SEEN).publish({
      hasPorts: this.#hasPorts,
      renumbering: renumbering && { outside: renumbering.outside, former: renumbering.former },
      changes: this.#gatewayChanges,
    });
    facts.of(ATTACHED).publish(choice);
    await attempts.try(() => this.#makeOffer(wanted, later));
    // A pod that is deleted because of this report gets an address of the new subnets, since the conflist already has
    // them.
    const { subnets = choice.node.subnets } = facts.of(PROGRAMMED_WAY).value ?? {};
    if (renumbering !== undefined && isDeepStrictEqual(subnets, choice.node.subnets))
      outsidePods.report(subnets, renumbering.outside);
    attempts.end();
  }

  succeeded(): void {
    const { health, facts } = this.#parts;
    if (facts.of(NODE_CHOICE).value === undefined) return;
    health.warns(this.name, []);
    health.holds("reconcile", "", this.name);
  }

  failed(error: unknown, retryMs: number): void {
    const { health, log } = this.#parts;
    const text = error instanceof Error ? error.message : String(error);
    const line = { err: error, retryMs: Math.round(retryMs) };
    if (isAboutSinglePods(error)) {
      health.holds("reconcile", "", this.name);
      health.warns(this.name, [text]);
      log.warn(line, "routes to single pods are not programmed");
      return;
    }
    health.fails("reconcile", text, this.name);
    log.error(line, "this node's pods are not connected");
  }

  /** True if pods are attached to the bridge. */
  get #hasPorts(): boolean {
    return this.#ends.ports.size > 0;
  }

  /** True if pods have links of their own, or the next pod will. */
  get #hasRoutedPods(): boolean {
    return this.#parts.options.attach === "ptp" || this.#ends.routed.size > 0;
  }

  #wantedBridge({ choice, bridge: name, hairpin }: WantedPods, { state, renumbering }: SeenPods): PodBridge {
    const { name: nodeName, subnets } = choice.node;
    if (!this.#hasPorts) this.#bridge.forget();
    const desired = { name, ports: this.#ends.ports, hairpin, nodeName, subnets, mtu: choice.podMtu };
    return this.#bridge.podBridge({ ...desired, former: renumbering?.retained }, state.links);
  }

  /** True if the last pod has left the bridge and the next one will not use it. */
  #isLeft({ bridge }: WantedPods, { state }: SeenPods): boolean {
    return this.#parts.options.attach === "ptp" && !this.#hasPorts && !hasPorts(bridge, state);
  }

  #planBridge(wanted: WantedPods, seen: SeenPods) {
    const bridge = this.#wantedBridge(wanted, seen);
    const isLeft = this.#isLeft(wanted, seen);
    // A new object, or one that is being removed, was not undone by another program.
    const isNew = !this.#hadPods || isLeft || !isDeepStrictEqual(this.#bridgeAddresses, addressesOf(bridge));
    const { requests, ...plan } = (isLeft ? planLeftBridge : planPodBridge)(bridge, seen.state);
    return { ...plan, steps: requests.map((request) => requestStep(request, !isNew)) };
  }

  #planRoutedPods(wanted: WantedPods, seen: SeenPods) {
    const routed = this.#routedPodsOf(wanted, seen);
    const { requests, ...plan } = planRoutedPods(routed, this.#whole, seen.state);
    return { ...plan, steps: requests.map((request) => requestStep(request, true)) };
  }

  #routedPodsOf({ choice, network }: WantedPods, { reserved, state }: SeenPods): readonly RoutedPod[] {
    if (!this.#hasRoutedPods) return [];
    this.#whole = completePods(this.#whole, state);
    const subnets = [...choice.node.subnets, ...choice.former];
    return routedPods(network, subnets, reserved ?? []).filter(({ mark }) => this.#whole.has(mark));
  }

  #bridgeAfter({ bridge }: WantedPods, { state }: SeenPods, done: readonly PlanStep[]) {
    const isRemoved = done.some(
      (step) => step.kind === "request" && step.request.identifier === RTM_DELLINK.identifier,
    );
    return isRemoved ? undefined : state.links.find(({ name, kind }) => name === bridge && kind === "bridge");
  }

  #filterOf(wanted: WantedPods, seen: SeenPods, device: { readonly index: number } | undefined): AttachFilter {
    const { choice, network, bridge: name } = wanted;
    const { mac } = this.#wantedBridge(wanted, seen);
    const outside = new Set(seen.renumbering?.outside.map(({ mark }) => mark));
    const gateways = choice.node.subnets.map(firstHost);
    const subnets = [...choice.node.subnets, ...choice.former];
    const bridge = { name, network, gateways, index: device?.index ?? 0, mac, outside };
    return {
      bridge: this.#isLeft(wanted, seen) ? undefined : bridge,
      routed: this.#hasRoutedPods ? { network, gateways: subnets.map(firstHost), subnets, outside } : undefined,
      subnets: new Set(choice.node.subnets.map(formatPrefix)),
      ownPort: seen.port,
    };
  }

  /**
   * Writes the conflist, but only after the data path is programmed, and with the programmed values. While it is unknown
   * whether the cluster has policies, an existing conflist stays: another one might attach a pod without its policies.
   */
  async #makeOffer({ folder }: WantedPods, later: Pass["later"]): Promise<void> {
    const { facts, offer, options } = this.#parts;
    const [way, policies] = [facts.of(PROGRAMMED_WAY).value, facts.of(POLICY_STATE).value];
    if (folder === undefined || way === undefined || policies === undefined) return;
    const { subnets, networks, podMtu, executable } = way;
    const { attach, runDir, guardSenders } = options;
    const networkPolicy = networkPolicyKey(policies, runDir);
    const pods = { attach, subnets, networks, mtu: podMtu, networkPolicy, guardSenders };
    await offer.make({ ...pods, executable, runDir }, folder, later);
  }

  /** An error fails the pass, but the pass continues. */
  async #read<T>(read: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      this.#problems.push(error);
      return undefined;
    }
  }

  #log(reasons: readonly string[], requests: readonly string[], settings: readonly string[]): void {
    const { log } = this.#parts;
    const changes = requests.length + settings.length;
    const line = { reasons, changes, ...(settings.length > 0 && { settings }) };
    if (requests.length > 0) log.debug({ requests }, "requests sent");
    if (changes > 0) log.info(line, "connections of this node's pods repaired");
    else log.debug(line, "connections of this node's pods unchanged");
  }
}

/** The removal of such an object may unblock a peer's route. */
const GATEWAY_REMOVALS: ReadonlySet<string> = new Set([RTM_DELADDR.identifier, RTM_DELLINK.identifier]);

/** Kinds of objects that serve one pod each. Objects of other kinds serve all pods. */
const POD_KINDS: ReadonlySet<ObjectKind> = new Set<ObjectKind>(["route", "neighbour"]);

function isAboutSinglePods(error: unknown): boolean {
  if (!(error instanceof ContentionError)) return false;
  return error.objects.length < 2 && error.objects.every(({ identity }) => POD_KINDS.has(identity.kind));
}

function addressesOf({ gateways, former }: PodBridge): Pick<PodBridge, "gateways" | "former"> {
  return { gateways, former };
}

export function familiesOf(subnets: readonly Prefix[]): ReadonlySet<Address["family"]> {
  return new Set(subnets.map(({ address }) => address.family));
}

/** True if the bridge has ports, of any owner. */
function hasPorts(bridge: string, { links }: KernelSnapshot): boolean {
  const index = links.find(({ name }) => name === bridge)?.index;
  return links.some(({ masterIndex }) => masterIndex === index);
}

/** Returns each attachment with its addresses and the gateways of their subnets. */
function routedPods(
  network: string,
  subnets: readonly Prefix[],
  reserved: readonly Reservation[],
): readonly RoutedPod[] {
  const found = new Map<string, Address[]>();
  for (const { address, containerId, ifName } of reserved) {
    if (ifName === undefined) continue;
    const mark = ownerMark({ network, containerId, ifName });
    const others = found.get(mark);
    if (others === undefined) found.set(mark, [address]);
    else others.push(address);
  }
  return [...found].map(([mark, podAddresses]) => ({
    ...{ mark, podAddresses },
    gateways: subnets.filter((subnet) => podAddresses.some((address) => contains(subnet, address))).map(firstHost),
  }));
}
