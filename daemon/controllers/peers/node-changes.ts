/**
 * Programs changes of single Nodes without reading the kernel: the difference between the entries that these peers had
 * and those that they need. This is only done between two comparisons that find nothing else to do: everything that
 * leaves the kernel's state in doubt leads to a comparison of everything.
 */
import { isDeepStrictEqual } from "node:util";
import type { Peer } from "../../../pkg/backend/node.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import type { Address } from "../../../pkg/ip/address.ts";
import { overlaps } from "../../../pkg/ip/prefix.ts";
import { planEntries } from "../../../pkg/reconcile/data-path.ts";
import { requestStep } from "../../../pkg/reconcile/plan-step.ts";
import type { Apply, Pass } from "../../core/controller.ts";
import type { Facts } from "../../core/topic.ts";
import type { Sources } from "../context.ts";
import { FIREWALLED, PEER_ADDRESSES, type PeerAddresses } from "../facts.ts";
import type { Followers } from "./followers.ts";
import type { OldSenders } from "./old-senders.ts";
import { peerOf, sourcesOf } from "./peer.ts";
import { PeerSlices, type SliceBasis, type SliceChange } from "./peer-slices.ts";
import type { RunFiles, TableContent } from "./run-files.ts";

export interface NodeChangesParts {
  readonly sources: Pick<Sources, "view" | "nodes">;
  readonly facts: Facts;
  readonly runFiles: Pick<RunFiles, "changeTable">;
  readonly oldSenders: OldSenders;
  readonly followers: Followers;
  readonly clock: Pick<Clock, "nowMs">;
}

/** What a comparison has left in the kernel. */
export interface Settled {
  readonly basis: SliceBasis;
  readonly state: DesiredState;
  /** The Nodes of the peers. */
  readonly nodes: readonly ClusterNode[];
  /** The indexes of this node's devices to other nodes, by name. */
  readonly indexes: ReadonlyMap<string, number>;
  readonly table: Omit<TableContent, "peers">;
  readonly addresses: PeerAddresses;
}

export interface ProgrammedChange {
  readonly peers: readonly Peer[];
  readonly slices: PeerSlices;
  readonly requests: readonly { readonly identifier: string; readonly text: string }[];
  readonly programsMs: number;
}

/** The state between two comparisons. */
interface Current {
  readonly settled: Settled;
  readonly slices: PeerSlices;
  readonly nodes: Map<string, ClusterNode>;
}

export class NodeChanges {
  readonly #parts: NodeChangesParts;
  #current: Current | undefined;
  /** True if the last comparison was successful, and its state is still the kernel's as far as known. */
  #isCertain = false;

  constructor(parts: NodeChangesParts) {
    this.#parts = parts;
  }

  /** The desired state that is programmed, if it is known peer by peer. */
  get state(): DesiredState | undefined {
    return this.#current?.slices.state;
  }

  /** Begins a comparison of everything with the kernel. */
  compares(): void {
    this.#isCertain = true;
    this.#parts.sources.view.takeChanged();
  }

  /** The kernel's state may differ from the one that this object knows. The next pass must be a comparison. */
  doubts(): undefined {
    this.#isCertain = false;
  }

  /** Takes over the state after a comparison without failures and conflicts; undefined after any other. */
  settle(settled: Settled | undefined): void {
    const slices = settled && PeerSlices.of(settled.basis, settled.nodes.map(peerOf), settled.state);
    const nodes = new Map(settled?.nodes.map((node) => [node.name, node]));
    this.#current = settled && slices && { settled, slices, nodes };
  }

  /**
   * Programs the Nodes that have changed since the last pass. `onSend` is called before the kernel is changed. Returns
   * undefined if this pass must compare everything instead; the comparison then also covers a change that was carried
   * out in part.
   */
  async program(
    { reasons, later }: Pass,
    apply: Apply,
    onSend: (change: SliceChange) => void,
  ): Promise<ProgrammedChange | undefined> {
    const { sources, oldSenders, clock } = this.#parts;
    const current = this.#current;
    const isAboutNodes = reasons.every((reason) => reason === sources.nodes.name);
    if (current === undefined || !this.#isCertain || !isAboutNodes) return undefined;
    const nodes = changedNodes(sources.view, current);
    if (nodes === undefined) return undefined;
    // Until the end of this pass, the kernel's state is unknown.
    this.#current = undefined;

    const { settled, slices } = current;
    const peers = new Map([...nodes].map(([name, node]) => [name, node && peerOf(node)]));
    if (mayTakeFormer(settled, slices, peers)) return undefined;
    const change = slices.change(peers);
    if (change === undefined) return undefined;

    const left = [...nodes.keys()].flatMap((name) => sourcesOrNone(current.nodes.get(name)));
    const came = [...nodes.values()].flatMap(sourcesOrNone);
    const newSenders = oldSenders.change(left, came, clock.nowMs());
    const expiresMs = oldSenders.nextMs(clock.nowMs());
    if (expiresMs !== undefined) later("an old sender expires", expiresMs);
    const all = sources.view.peers.map(peerOf);
    const [addresses] = await Promise.all([
      this.#firewalled(settled.addresses, newSenders, change),
      peers.size > 0 && this.#parts.runFiles.changeTable({ ...settled.table, peers: all }),
    ]);

    // Another program's change may have been announced in the meantime.
    if (!this.#isCertain) return undefined;
    const programsMs = clock.nowMs();
    const requests = planEntries(change.before, change.after, settled.indexes);
    onSend(change);
    const { failures } = await apply(requests.map((request) => requestStep(request)));
    if (failures.length > 0) return undefined;
    for (const [name, node] of nodes) {
      if (node === undefined) current.nodes.delete(name);
      else current.nodes.set(name, node);
    }
    this.#current = { ...current, settled: { ...settled, addresses } };
    return { peers: all, slices, requests, programsMs };
  }

  /** Waits for this node's rules about the changed addresses, as far as they need any. */
  async #firewalled(
    since: PeerAddresses,
    newSenders: readonly Address[],
    { unmasqueraded: { before, after } }: SliceChange,
  ): Promise<PeerAddresses> {
    if (newSenders.length === 0 && isDeepStrictEqual(before, after)) return since;
    const { facts, followers } = this.#parts;
    const gone = new Set(before);
    const addresses: PeerAddresses = {
      choice: since.choice,
      senders: [...since.senders, ...newSenders],
      unmasqueraded: [...since.unmasqueraded.filter((address) => !gone.has(address)), ...after],
      change: { since: since.senders, newSenders, unmasqueraded: differenceOf(before, after) },
    };
    facts.of(PEER_ADDRESSES).publish(addresses);
    await followers.caughtUp(facts.of(FIREWALLED), addresses);
    return addresses;
  }
}

/** Returns the changed Nodes by name, undefined for one that is gone; undefined if this node itself may have changed. */
function changedNodes(
  view: Sources["view"],
  { nodes, settled }: Current,
): ReadonlyMap<string, ClusterNode | undefined> | undefined {
  const names = view.takeChanged();
  if (names === undefined || names.has(settled.basis.node.name)) return undefined;
  const changed = [...names].map((name) => [name, view.get(name)] as const);
  return new Map(changed.filter(([name, node]) => node !== nodes.get(name)));
}

/** True if a changed peer has, or had, a subnet that was this node's: the gateway of that subnet must go first. */
function mayTakeFormer(
  { addresses: { choice } }: Settled,
  slices: PeerSlices,
  peers: ReadonlyMap<string, Peer | undefined>,
): boolean {
  const subnets = [...peers].flatMap(([name, peer]) => [
    ...(peer?.subnets ?? []),
    ...(slices.get(name)?.subnets ?? []),
  ]);
  return choice.former.some((former) => subnets.some((subnet) => overlaps(subnet, former)));
}

function sourcesOrNone(node: ClusterNode | undefined): readonly Address[] {
  return node === undefined ? [] : sourcesOf(node);
}

function differenceOf(before: readonly Address[], after: readonly Address[]) {
  const without = (some: readonly Address[], others: readonly Address[]) =>
    some.filter((one) => !others.some((other) => isDeepStrictEqual(one, other)));
  return { new: without(after, before), gone: without(before, after) };
}
