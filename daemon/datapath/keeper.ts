/**
 * What weftd keeps in the kernel beside the way to the peers: settings, the node's nftables, the pods' bridge. Each is
 * looked at in every pass and put back where it differs; none waits for another.
 */

import { isDeepStrictEqual } from "node:util";
import type { LocalNode } from "../../pkg/backend/node.ts";
import { hasOtherAddress, type Renumbering, renumberingOf } from "../../pkg/backend/renumbering.ts";
import type { DesiredState } from "../../pkg/backend/state.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { contains, firstHost, type Prefix } from "../../pkg/ip/prefix.ts";
import type { Reservation } from "../../pkg/ipam/reservation.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { ownerMark } from "../../pkg/kernel/owner.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import { settingObject, sysctlPath } from "../../pkg/kernel/sysctl.ts";
import { RTM_DELLINK } from "../../pkg/netlink/link.ts";
import type { Request } from "../../pkg/netlink/message.ts";
import type { Table } from "../../pkg/nft/table.ts";
import type { DataPath, Plan } from "../../pkg/reconcile/data-path.ts";
import { type PodBridge, planLeftBridge, planPodBridge } from "../../pkg/reconcile/pod-bridge.ts";
import { type PodCable, planPodCables, wholeCables } from "../../pkg/reconcile/pod-cables.ts";
import { NO_ENDS, podEnds } from "../../pkg/reconcile/pod-ends.ts";
import type { Gate } from "../../pkg/reconcile/repair-gate.ts";
import type { Files } from "../../pkg/sys/system.ts";
import { nodeRules } from "../../pkg/tables/node-rules.ts";
import { BridgeMemory } from "../controllers/attach/bridge-memory.ts";
import type { BridgeNames } from "../controllers/attach/conflist.ts";
import { PodProxy } from "../controllers/attach/pod-proxy.ts";
import { Reservations } from "../controllers/attach/reservations.ts";
import { bridgeFilterSettings } from "../controllers/node-rules/bridge-filter.ts";
import type { Firewall } from "../controllers/node-rules/firewall.ts";
import {
  advertisedLinks,
  ensureSetting,
  forwardingSettings,
  type Setting,
} from "../controllers/node-rules/forwarding.ts";
import type { LegacyForward } from "../controllers/node-rules/legacy-forward.ts";
import type { Attempts } from "../core/attempts.ts";
import { type Programmer, RefusedError } from "../core/drivers/programmer.ts";
import type { SettingWatch } from "../core/drivers/setting-watch.ts";
import type { Options } from "../options.ts";

import type { BridgeInterest, CableInterest } from "./notifications.ts";

export interface KeeperParts {
  readonly options: Pick<Options, "attach" | "nonMasqueradeCidrs" | "vxlanFrom">;
  readonly programmer: Pick<Programmer, "attachPods" | "answerFor">;
  readonly firewall: Pick<Firewall, "keep">;
  readonly legacyForward: Pick<LegacyForward, "ensure">;
  readonly contention: Gate;
  readonly files: Files;
  readonly settingWatch: Pick<SettingWatch, "follow">;
}

/** What a pass has found out and decided. */
export interface NodeState extends BridgeNames {
  readonly node: LocalNode;
  readonly underlay: Link;
  readonly desired: DesiredState;
  /** All pods' networks. */
  readonly networks: readonly Prefix[];
  /** All addresses of the other nodes. */
  readonly senders: readonly Address[];
  readonly observed: KernelSnapshot;
  /** Where host-local writes down whose each address is. */
  readonly reservations: string;
  /** Subnets that this node had before, in this boot. */
  readonly former: readonly Prefix[];
}

export interface Kept {
  /** "name=value" of each setting that was changed. */
  readonly settings: readonly string[];
  /** What else was changed, in words. */
  readonly rules: readonly string[];
  readonly requests: readonly Request[];
  readonly bridge: BridgeInterest | undefined;
  readonly cables: CableInterest | undefined;
  /** Undefined where it is not known which pods run. */
  readonly renumbering: Renumbering | undefined;
  /** As it is after the requests, as far as they change what the way to other nodes depends on. */
  readonly observed: KernelSnapshot;
}

export class Keeper {
  readonly #parts: KeeperParts;
  readonly #bridge = new BridgeMemory();
  readonly #reservations: Reservations;
  readonly #podProxy: PodProxy;
  #ends = NO_ENDS;
  /** Marks of the pods' own links that were whole once. */
  #whole: ReadonlySet<string> = new Set();
  /** What the last pass has seen to: what differs from it now was changed by somebody else. */
  #dataPath: DataPath | undefined;
  readonly #settled = new Set<string>();
  #hadPods = false;
  #bridgeAddresses: Pick<PodBridge, "gateways" | "former"> | undefined;

  constructor(parts: KeeperParts) {
    this.#parts = parts;
    this.#reservations = new Reservations(parts.files);
    this.#podProxy = new PodProxy(parts);
  }

  /** What failed is with `attempts`. */
  async keep(state: NodeState, attempts: Attempts): Promise<Kept> {
    const { firewall, legacyForward, options, settingWatch } = this.#parts;
    this.#ends = podEnds(state.network, options.attach, state.observed, this.#ends);
    const wanted = await this.#wantedSettings(state, attempts);
    const settings = await this.#keepSettings(wanted, attempts);
    const families = new Set(state.node.subnets.map(({ address }) => address.family));
    const ranges = state.networks.filter(({ address }) => families.has(address.family));
    const rules = (await attempts.try(() => firewall.keep({ table: this.#rulesOf(state), ranges }))) ?? [];
    const legacy = (await attempts.try(() => legacyForward.ensure(ranges))) ?? [];
    const renumbering = await this.#lookOutside(state, attempts);
    const bridge = await this.#keepBridge(state, renumbering, attempts);
    const cables = await this.#keepCables(state, renumbering, attempts);
    const proxy = await this.#podProxy.keep(
      {
        ...{ families, bridge: bridge.device, podAddresses: cables.podAddresses },
        isWanted: this.#hasPorts && this.#hasCables,
      },
      attempts,
    );
    settingWatch.follow([...wanted, ...proxy.watched].map(({ name }) => sysctlPath(name)));
    return {
      settings: [...settings, ...proxy.settings],
      rules: [...rules, ...legacy],
      requests: [...bridge.requests, ...cables.requests, ...proxy.requests],
      ...{ bridge: bridge.interest, cables: cables.interest, renumbering, observed: bridge.observed },
    };
  }

  /** Pods are on the bridge. */
  get #hasPorts(): boolean {
    return this.#ends.ports.size > 0;
  }

  /** Pods have links of their own, or the next one will. */
  get #hasCables(): boolean {
    return this.#parts.options.attach === "ptp" || this.#ends.cables.size > 0;
  }

  /**
   * For requests that make the kernel hold `dataPath`: what had to be sent although the same was wanted before was undone
   * by somebody, and is counted as that.
   */
  gate(dataPath: DataPath): Gate {
    const { contention } = this.#parts;
    const before = this.#dataPath;
    let isRepair: boolean | undefined;
    const repairs = () => {
      isRepair ??= before !== undefined && isDeepStrictEqual(before, dataPath);
      return isRepair;
    };
    return {
      get isOpen() {
        return !repairs();
      },
      mayPutBack: (object, text) => !repairs() || contention.mayPutBack(object, text),
      refused: (object) => contention.refused(object),
      assertNothingRests: () => contention.assertNothingRests(),
    };
  }

  /** The kernel has been made to hold `dataPath`. Throws where something of it, or beside it, rests. */
  programmed(dataPath: DataPath): void {
    this.#dataPath = dataPath;
    this.#parts.contention.assertNothingRests();
  }

  async #wantedSettings({ node, underlay, desired, observed, bridge }: NodeState, attempts: Attempts) {
    const { files, options } = this.#parts;
    const families = new Set(node.subnets.map(({ address }) => address.family));
    const devices = [...desired.dataPath.devices.map(({ name }) => name), bridge];
    const isBridged = options.attach === "bridge" || this.#hasPorts;
    const bridged = isBridged ? await attempts.try(() => bridgeFilterSettings(files, families)) : [];
    const forwarding = forwardingSettings(files, families, underlay.name, devices, advertisedLinks(observed));
    return [...forwarding, ...(bridged ?? [])];
  }

  /** "name=value" of each that was changed. */
  async #keepSettings(wanted: readonly Setting[], attempts: Attempts): Promise<string[]> {
    const { files, contention } = this.#parts;
    const changed: string[] = [];
    for (const setting of wanted) {
      const name = setting.name.join(".");
      const isAllowed = () =>
        !this.#settled.has(name) ||
        contention.mayPutBack(settingObject(setting.name), () => `${name}=${setting.value}`);
      const text = await attempts.try(() => ensureSetting(files, setting, isAllowed));
      if (text !== undefined) changed.push(text);
      this.#settled.add(name);
    }
    return changed;
  }

  async #keepBridge(state: NodeState, renumbering: Renumbering | undefined, attempts: Attempts) {
    const { node, desired, observed, network, bridge: name, hairpin } = state;
    const { ports } = this.#ends;
    const isFirst = !this.#hadPods;
    this.#hadPods = this.#hasPorts;
    if (!this.#hadPods) this.#bridge.forget();
    const wishes = { name, ports, hairpin, nodeName: node.name, subnets: node.subnets, mtu: desired.podMtu };
    const wanted = this.#bridge.podBridge({ ...wishes, former: renumbering?.wishes }, observed.links);
    const addresses = { gateways: wanted.gateways, former: wanted.former };
    const isLeft = this.#parts.options.attach === "ptp" && !this.#hasPorts && !hasPorts(name, observed);
    const isNew = isFirst || isLeft || !isDeepStrictEqual(this.#bridgeAddresses, addresses);
    this.#bridgeAddresses = addresses;
    const plan = isLeft ? planLeftBridge : planPodBridge;
    const planned = (seen: KernelSnapshot) => plan(wanted, seen);
    const { requests, state: seen } = await this.#attach(planned, observed, isNew, attempts);
    const isRemoved = requests.some(({ identifier }) => identifier === RTM_DELLINK.identifier);
    const device = isRemoved ? undefined : seen.links.find((link) => link.name === name && link.kind === "bridge");
    const gateways = node.subnets.map(firstHost);
    const known = { name, network, gateways, index: device?.index ?? 0, mac: wanted.mac };
    const interest = isLeft ? undefined : { ...known, outside: marksOf(renumbering) };
    return { requests, device, interest, observed: seen };
  }

  /** Reservations are read only where there may be pods outside the node's subnets. Undefined where that cannot be told. */
  async #lookOutside(state: NodeState, attempts: Attempts): Promise<Renumbering | undefined> {
    const { node, former, observed, bridge, reservations } = state;
    const mayHave =
      former.length > 0 || this.#hasCables || hasOtherAddress({ bridge, subnets: node.subnets }, observed);
    if (!mayHave) return { outside: [], former, wishes: { gateways: [], hosts: [] } };
    const reserved = await attempts.try(() => this.#reservations.in(reservations));
    // A folder that weftd does not see says nothing about the pods that hang on the bridge.
    if (reserved === undefined && hasPorts(bridge, observed)) return undefined;
    return renumberingOf(numbersOf(state, this.#ends.cables), reserved ?? [], observed);
  }

  async #keepCables(state: NodeState, renumbering: Renumbering | undefined, attempts: Attempts) {
    if (!this.#hasCables) return { requests: [], interest: undefined, podAddresses: [] };
    const { node, observed, network, reservations, former } = state;
    const subnets = [...node.subnets, ...former];
    const gateways = subnets.map(firstHost);
    const reserved = (await attempts.try(() => this.#reservations.in(reservations))) ?? [];
    this.#whole = wholeCables(this.#whole, observed);
    const wanted = podCables(network, subnets, reserved).filter(({ mark }) => this.#whole.has(mark));
    const plan = (seen: KernelSnapshot) => planPodCables(wanted, this.#whole, seen);
    const { requests } = await this.#attach(plan, observed, false, attempts);
    const podAddresses = wanted.flatMap((cable) => cable.podAddresses);
    return { requests, interest: { network, gateways, subnets, outside: marksOf(renumbering) }, podAddresses };
  }

  /** What `isNew` was never there, or goes: no other program has undone it. */
  async #attach(plan: (state: KernelSnapshot) => Plan, observed: KernelSnapshot, isNew: boolean, attempts: Attempts) {
    const { programmer, contention } = this.#parts;
    const attached = await attempts.try(() => programmer.attachPods(plan, observed, isNew ? undefined : contention));
    await attempts.try(() => {
      if (attached !== undefined && attached.refusals.length > 0) throw new RefusedError(attached.refusals);
      if (attached !== undefined && attached.conflicts.length > 0) throw new Error(attached.conflicts.join("; "));
    });
    return { requests: attached?.requests ?? [], state: attached?.state ?? observed };
  }

  #rulesOf({ desired, networks, senders }: NodeState): Table {
    const { nonMasqueradeCidrs, vxlanFrom } = this.#parts.options;
    return nodeRules({
      ...{ podRanges: networks, exempt: desired.unmasqueraded, nonMasquerade: nonMasqueradeCidrs },
      ...{ tunnels: vxlanFrom === "nodes" ? desired.tunnels : [], senders },
    });
  }
}

/** Links of any owner. */
function hasPorts(bridge: string, { links }: KernelSnapshot): boolean {
  const index = links.find(({ name }) => name === bridge)?.index;
  return links.some(({ masterIndex }) => masterIndex === index);
}

function numbersOf({ network, bridge, node, former, desired }: NodeState, cables: ReadonlySet<string>) {
  const peerSubnets = desired.dataPath.routes.map(({ destination }) => destination);
  return { network, bridge, cables, subnets: node.subnets, former, peerSubnets };
}

function marksOf(renumbering: Renumbering | undefined): ReadonlySet<string> {
  return new Set(renumbering?.outside.map(({ mark }) => mark));
}

/** Of each attachment that has addresses: its own, and the gateways of the subnets that they are of. */
function podCables(network: string, subnets: readonly Prefix[], reserved: readonly Reservation[]): readonly PodCable[] {
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
