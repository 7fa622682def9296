/**
 * The desired state, peer by peer. The entries of a peer that shares no address, subnet or hardware address with another
 * node do not depend on other peers: `desiredState` for this peer alone returns them. So the change of a few among
 * thousands of peers costs as much as these few. Whenever peers may depend on each other, the result is undefined, and
 * the caller computes the complete state.
 */
import { isDeepStrictEqual } from "node:util";
import { type Channels, joinEntries, type KnownDevices } from "../../../pkg/backend/contributions.ts";
import { byPeer, desiredState } from "../../../pkg/backend/desired.ts";
import type { NetConf } from "../../../pkg/backend/net-conf.ts";
import type { LocalNode, Peer } from "../../../pkg/backend/node.ts";
import type { DesiredState, EntryGroups, PeerEntries, PeerProblem, PeerTrouble } from "../../../pkg/backend/state.ts";
import { type Address, addressBits } from "../../../pkg/ip/address.ts";
import { networkOf, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { Entries } from "../../../pkg/reconcile/data-path.ts";

/** The arguments of `desiredState`, without the peers. */
export interface SliceBasis {
  readonly conf: NetConf;
  readonly node: LocalNode;
  readonly known: KnownDevices;
  readonly keep: Channels;
}

/** The entries of the changed peers before and after the change, and destinations that are not masqueraded. */
export interface SliceChange {
  readonly before: Entries;
  readonly after: Entries;
  readonly unmasqueraded: { readonly before: readonly Address[]; readonly after: readonly Address[] };
}

/** The part of the state that exists because of one peer. */
interface Slice {
  readonly peer: Peer;
  /** The peer's entries in each group; undefined if it has none. */
  readonly entries: readonly (PeerEntries | undefined)[];
  readonly unmasqueraded: readonly Address[];
  readonly problems: readonly PeerProblem[];
}

/** Problems between peers. */
const SHARED: ReadonlySet<PeerTrouble> = new Set<PeerTrouble>(["OverlappingSubnet", "SameMac"]);

export class PeerSlices {
  readonly #basis: SliceBasis;
  /** The state without peers. Everything in it except entries and problems must be the same with peers. */
  readonly #empty: DesiredState;
  readonly #slices: Map<string, Slice>;
  readonly #claims = new Claims();
  #state: DesiredState | undefined;

  private constructor(basis: SliceBasis, empty: DesiredState, slices: Map<string, Slice>) {
    this.#basis = basis;
    this.#empty = empty;
    this.#slices = slices;
  }

  /**
   * `state` is the desired state for `basis` and `peers`. Returns undefined if some of these peers depend on each other,
   * or determine this node's devices.
   */
  static of(basis: SliceBasis, peers: readonly Peer[], state: DesiredState): PeerSlices | undefined {
    const empty = stateOf(basis, []);
    if (!hasSameFrame(state, empty) || state.problems.some(({ trouble }) => SHARED.has(trouble))) return undefined;
    const entries = state.entries.map((group) => new Map(group.map((one) => [one.peer, one])));
    const problems = new Map<string, PeerProblem[]>();
    for (const problem of state.problems) problems.set(problem.peer, [...(problems.get(problem.peer) ?? []), problem]);
    const shown = new Set(state.unmasqueraded);
    const made = new PeerSlices(basis, empty, new Map());
    for (const peer of peers) {
      const slice: Slice = {
        peer,
        entries: entries.map((group) => group.get(peer.name)),
        unmasqueraded: peer.addresses.filter((address) => shown.has(address)),
        problems: problems.get(peer.name) ?? [],
      };
      if (!made.#claims.add(slice)) return undefined;
      made.#slices.set(peer.name, slice);
    }
    made.#state = state;
    return made;
  }

  get(name: string): Peer | undefined {
    return this.#slices.get(name)?.peer;
  }

  get size(): number {
    return this.#slices.size;
  }

  /** The desired state for all peers: equal to the result of `desiredState`. */
  get state(): DesiredState {
    if (this.#state !== undefined) return this.#state;
    const slices = [...this.#slices.values()].sort((a, b) => (a.peer.name < b.peer.name ? -1 : 1));
    const entries = this.#empty.entries.map((_, at) => slices.flatMap((slice) => slice.entries[at] ?? []));
    this.#state = {
      ...this.#empty,
      dataPath: { devices: this.#empty.dataPath.devices, ...joinEntries(entries) },
      entries,
      unmasqueraded: slices.flatMap(({ unmasqueraded }) => unmasqueraded),
      problems: this.problems,
    };
    return this.#state;
  }

  get problems(): readonly PeerProblem[] {
    return byPeer([...this.#empty.problems, ...[...this.#slices.values()].flatMap(({ problems }) => problems)]);
  }

  /**
   * Applies changes: a peer for each name, or undefined if it is gone. Returns undefined if the changed peers may depend
   * on others, or others on them; this object must then not be used any more.
   */
  change(changes: ReadonlyMap<string, Peer | undefined>): SliceChange | undefined {
    this.#state = undefined;
    const before: Slice[] = [];
    const after: Slice[] = [];
    for (const name of changes.keys()) {
      const slice = this.#slices.get(name);
      if (slice === undefined) continue;
      before.push(slice);
      this.#claims.remove(slice);
      this.#slices.delete(name);
    }
    for (const [name, peer] of changes) {
      if (peer === undefined) continue;
      const slice = this.#sliceOf(peer);
      if (slice === undefined || !this.#claims.add(slice)) return undefined;
      this.#slices.set(name, slice);
      after.push(slice);
    }
    return {
      before: joinEntries(this.#groupsOf(before)),
      after: joinEntries(this.#groupsOf(after)),
      unmasqueraded: {
        before: before.flatMap(({ unmasqueraded }) => unmasqueraded),
        after: after.flatMap(({ unmasqueraded }) => unmasqueraded),
      },
    };
  }

  #groupsOf(slices: readonly Slice[]): EntryGroups {
    return this.#empty.entries.map((_, at) => slices.flatMap(({ entries }) => entries[at] ?? []));
  }

  #sliceOf(peer: Peer): Slice | undefined {
    const state = stateOf(this.#basis, [peer]);
    if (!hasSameFrame(state, this.#empty) || state.problems.some(({ trouble }) => SHARED.has(trouble)))
      return undefined;
    return {
      peer,
      entries: state.entries.map((group) => group[0]),
      unmasqueraded: state.unmasqueraded,
      problems: state.problems.filter(({ peer: name }) => name === peer.name),
    };
  }
}

function stateOf({ conf, node, known, keep }: SliceBasis, peers: readonly Peer[]): DesiredState {
  return desiredState(conf, node, peers, known, keep);
}

/** True if the states differ only in entries, unmasqueraded addresses and problems. */
function hasSameFrame(one: DesiredState, other: DesiredState): boolean {
  const frame = ({ dataPath, entries, podMtu, endpoints, tunnels, isAsymmetric }: DesiredState) => ({
    ...{ devices: dataPath.devices, groups: entries.length, podMtu, endpoints, tunnels, isAsymmetric },
  });
  return isDeepStrictEqual(frame(one), frame(other));
}

/** What each peer needs for itself: addresses, subnets, and hardware addresses on a device. */
class Claims {
  readonly #keys = new Set<string>();
  /** The networks of claimed subnets, by family and length. */
  readonly #subnets = new Map<string, { readonly length: number; readonly networks: Set<bigint> }>();

  /** Returns false if another peer has one of them; the claims are then incomplete. */
  add(slice: Slice): boolean {
    for (const key of keysOf(slice)) {
      if (this.#keys.has(key)) return false;
      this.#keys.add(key);
    }
    for (const subnet of slice.peer.subnets) {
      if (this.#overlaps(subnet)) return false;
      this.#ofLength(subnet).networks.add(networkOf(subnet).address.value);
    }
    return true;
  }

  remove(slice: Slice): void {
    for (const key of keysOf(slice)) this.#keys.delete(key);
    for (const subnet of slice.peer.subnets) this.#ofLength(subnet).networks.delete(networkOf(subnet).address.value);
  }

  #ofLength({ address, length }: Prefix) {
    const key = `${address.family} ${length}`;
    const found = this.#subnets.get(key) ?? { length, networks: new Set<bigint>() };
    this.#subnets.set(key, found);
    return found;
  }

  /** Nearly always, all subnets of a family have one length. */
  #overlaps({ address, length }: Prefix): boolean {
    const { family } = address;
    for (const [key, other] of this.#subnets) {
      if (!key.startsWith(`${family} `)) continue;
      const network = networkOf({ address, length: Math.min(length, other.length) }).address.value;
      if (other.length <= length && other.networks.has(network)) return true;
      const host = BigInt(addressBits(family) - length);
      if (other.length > length && [...other.networks].some((one) => one >> host === network >> host)) return true;
    }
    return false;
  }
}

function keysOf({ peer, entries }: Slice): readonly string[] {
  const forwarding = entries.flatMap((one) => one?.forwarding ?? []);
  return [
    ...new Set(peer.addresses.map(({ family, value }) => `${family} ${value}`)),
    ...forwarding.map(({ device, mac }) => `${device} ${mac}`),
  ];
}
