/**
 * What a backend tells a person who looks at a node: in `weft status` its settings and devices, in `weft doctor` checks of
 * its own, in `weft explain` what becomes of a packet behind one of its devices. Pure: what is asked of the node is asked
 * before, or by the functions that come along.
 */
import type { Address } from "../ip/address.ts";
import type { Device } from "../kernel/device.ts";
import type { Link } from "../kernel/link.ts";
import type { ObservedRoute } from "../kernel/route.ts";
import type { KernelSnapshot } from "../kernel/snapshot.ts";
import type { BackendConf } from "./contract.ts";
import type { Peer } from "./node.ts";
import type { DesiredState } from "./state.ts";

/** What breaks pods' traffic, or will; what should be mended some day; what is good to know. */
export type Severity = "error" | "warning" | "note";

/** What doctor finds. */
export interface Finding {
  readonly severity: Severity;
  /** One sentence: what was seen, with names and values. */
  readonly seen: string;
  /** One sentence: what comes of it. */
  readonly why: string;
  /** A command that mends it, as root on this node; undefined where there is none, and `advice` says what to do. */
  readonly run?: string | undefined;
  readonly advice?: string | undefined;
}

/** A packet from a peer to this node, as it comes in by the underlay. */
export interface Incoming {
  readonly source: Address;
  readonly destination: Address;
  /** IPPROTO_* */
  readonly protocol: number;
  readonly destinationPort?: number;
  /** Of VXLAN. */
  readonly vni?: number;
}

/** A rule or policy that drops a packet: where that is, and what would let the packet in. */
export interface Obstacle {
  readonly place: string;
  readonly remedy: Pick<Finding, "run" | "advice">;
}

/** What a backend's checks see of a node. */
export interface Sight {
  readonly observed: KernelSnapshot;
  /** Undefined where weftd has not served since the node booted. */
  readonly desired: DesiredState | undefined;
  readonly peers: readonly Peer[];
  /** What of the node's nftables rules drops a packet from a peer; `accept` is the match of a rule that lets it in. */
  readonly obstacleTo: (packet: Incoming, accept: string) => Obstacle | undefined;
}

/** From a sight to findings: nothing is asked of the node here. */
export interface BackendCheck {
  readonly name: string;
  readonly group: "data path" | "firewall";
  /** What it looks at, for `--list`. */
  readonly about: string;
  judge(sight: Sight): readonly Finding[];
}

/** `ends`: the packet goes no further, and should; `astray`: it goes where it should not; `note`: it cannot be told. */
export type HopState = "goes" | "arrives" | "ends" | "astray" | "note";

/** A step on a packet's way, as it is told. */
export interface Hop {
  /** A word for where it is: "route", "neighbour", "forward". */
  readonly at: string;
  readonly state: HopState;
  readonly text: string;
  /** A command that shows it. */
  readonly show?: string | undefined;
  /** What would mend it. */
  readonly remedy?: string | undefined;
}

/** `other`: something of that name is there and leads elsewhere. */
export type Presence = "there" | "missing" | "other";

/** One entry of the kernel's that a peer needs. */
export interface Entry {
  readonly kind: "route" | "neighbour" | "fdb";
  /** As an operator would write it. */
  readonly text: string;
  readonly presence: Presence;
}

/** A packet that is about to go out by a device of a backend. */
export interface Passage {
  readonly device: Link;
  /** Whom the route leads to: a gateway, or the destination itself. */
  readonly to: Address;
  readonly observed: KernelSnapshot;
  /** The peer whose pod it is for, and the entries that it needs. */
  readonly peer: { readonly name: string; readonly entries: readonly Entry[] } | undefined;
  /** What the kernel answers; its errno's name where it refuses. */
  readonly routeTo: (destination: Address) => ObservedRoute | string;
}

/** Steps until the packet has left the node; where `isOver`, the last one says why it does not. */
export interface PassageAnswer {
  readonly hops: readonly Hop[];
  readonly isOver: boolean;
}

/** Something as programs read it, and in words. */
export interface Description {
  readonly data: Readonly<Record<string, string | number>>;
  readonly text: string;
}

/** Of a backend's devices. */
export interface DeviceInspection {
  /** What `weft status` calls one. */
  readonly word: string;
  /** A device as it should be, its name, MAC and MTU apart. */
  describe(device: Device): Description;
  /** A device as the kernel makes it of what is asked for, under that index: down, and without an alias. */
  made(device: Device, index: number): Link;
  /** True for links that work as these devices do, whoever made them. */
  leadsBy(link: Link): boolean;
  /** What becomes of a packet that goes out by one. */
  pass(passage: Passage): PassageAnswer;
}

export interface Inspection<C extends BackendConf = BackendConf> {
  /** Kinds of links that the kernel has to make for a node of this backend. */
  readonly kinds: readonly string[];
  readonly checks: readonly BackendCheck[];
  /** The settings that `weft status` names beside the backend. [none] */
  settings?(conf: C): Description;
  /** What packets between nodes may have, where the operator has said so; bytes. */
  underlayMtu?(conf: C): number | undefined;
  /** Undefined for a backend that has no devices. */
  readonly devices?: DeviceInspection;
}
