/**
 * A backend's functions for inspecting a node: its settings and devices for `weft status`, its own checks for `weft
 * doctor`, and the path of a packet through one of its devices for `weft explain`. Pure: the node is read beforehand,
 * or by the functions that are passed in.
 */
import type { Address } from "../ip/address.ts";
import type { Device } from "../kernel/device.ts";
import type { Link } from "../kernel/link.ts";
import type { ObservedRoute } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import type { BackendConf } from "./contract.ts";
import type { Peer } from "./node.ts";
import type { DesiredState } from "./state.ts";

/** An error breaks pods' traffic now or later. A warning should be repaired at some time. A note is for information. */
export type Severity = "error" | "warning" | "note";

/** A finding of doctor. */
export interface Finding {
  readonly severity: Severity;
  /** One sentence: the observation, with names and values. */
  readonly seen: string;
  /** One sentence: the consequence. */
  readonly why: string;
  /**
   * A command that repairs it, to run as root on this node. Undefined if there is none; `advice` then says what to do.
   */
  readonly run?: string | undefined;
  readonly advice?: string | undefined;
}

/** A packet from a peer to this node, as the underlay receives it. */
export interface Incoming {
  readonly source: Address;
  readonly destination: Address;
  /** An IPPROTO_* value. */
  readonly protocol: number;
  readonly destinationPort?: number;
  /** The VNI of a VXLAN packet. */
  readonly vni?: number;
}

/** A rule or policy that drops a packet: its place, and how to let the packet pass. */
export interface Obstacle {
  readonly place: string;
  readonly remedy: Pick<Finding, "run" | "advice">;
}

/** The state of a node that a backend's checks read. */
export interface Sight {
  readonly observed: KernelSnapshot;
  /** Undefined if weftd has not served since the node booted. */
  readonly desired: DesiredState | undefined;
  readonly peers: readonly Peer[];
  /**
   * Returns the nftables rule of the node that drops a packet from a peer. `accept` is the match of a rule that would
   * accept it.
   */
  readonly obstacleTo: (packet: Incoming, accept: string) => Obstacle | undefined;
}

/** A check that computes findings from a `Sight`, without reading the node. */
export interface BackendCheck {
  readonly name: string;
  readonly group: "data path" | "firewall";
  /** The subject of the check, for `--list`. */
  readonly about: string;
  judge(sight: Sight): readonly Finding[];
}

/**
 * `ends`: the packet is dropped but should not be. `astray`: it takes a wrong path. `note`: its path cannot be
 * determined.
 */
export type HopState = "goes" | "arrives" | "ends" | "astray" | "note";

/** A step on a packet's path, for output. */
export interface Hop {
  /** The place in one word: "route", "neighbour", "forward". */
  readonly at: string;
  readonly state: HopState;
  readonly text: string;
  /** A command that shows it. */
  readonly show?: string | undefined;
  /** A command or advice that repairs it. */
  readonly remedy?: string | undefined;
}

/** `other`: an entry for the same key exists but leads elsewhere. */
export type Presence = "there" | "missing" | "other";

/** One kernel entry that a peer needs. */
export interface Entry {
  readonly kind: "route" | "neighbour" | "fdb";
  /** The text as an operator would write it. */
  readonly text: string;
  readonly presence: Presence;
}

/** A packet that is about to leave by a device of a backend. */
export interface Passage {
  readonly device: Link;
  /** The next hop of the route: a gateway, or the destination itself. */
  readonly to: Address;
  readonly observed: KernelSnapshot;
  /** The peer whose pod is the destination, and the entries that the peer needs. */
  readonly peer: { readonly name: string; readonly entries: readonly Entry[] } | undefined;
  /** Returns the kernel's route, or the name of its errno if it refuses. */
  readonly routeTo: (destination: Address) => ObservedRoute | string;
}

/** The steps until the packet has left the node. If `isOver`, the last step says why it does not leave. */
export interface PassageAnswer {
  readonly hops: readonly Hop[];
  readonly isOver: boolean;
}

/** A value for programs, and the same value as text. */
export interface Description {
  readonly data: Readonly<Record<string, string | number>>;
  readonly text: string;
}

/** Functions for inspecting a backend's devices. */
export interface DeviceInspection {
  /** The name of such a device in `weft status`. */
  readonly word: string;
  /** Describes a device in its desired state, without its name, MAC and MTU. */
  describe(device: Device): Description;
  /** Returns the link that the kernel would create for the device, with that index, down and without an alias. */
  made(device: Device, index: number): Link;
  /** True for links that work like these devices, regardless of which program created them. */
  leadsBy(link: Link): boolean;
  /** Returns the path of a packet that leaves by such a device. */
  pass(passage: Passage): PassageAnswer;
}

export interface Inspection<C extends BackendConf = BackendConf> {
  /** The kinds of links that the kernel must support for a node of this backend. */
  readonly kinds: readonly string[];
  readonly checks: readonly BackendCheck[];
  /** The settings that `weft status` shows with the backend. [none] */
  settings?(conf: C): Description;
  /** The operator's limit for packets between nodes, in bytes, if one is configured. */
  underlayMtu?(conf: C): number | undefined;
  /** Undefined for a backend without devices. */
  readonly devices?: DeviceInspection;
}
