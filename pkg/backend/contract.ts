/**
 * The contract of a backend: a method by which nodes send each other their pods' packets. Each backend has a folder
 * here and a line in registry.ts. Everything that differs between backends is accessed through this contract.
 *
 * A node receives by its own backend. It sends to each peer by the method that the peer announces. So a node may use
 * several backends at once, and a cluster can change from one to another node by node.
 *
 * Pure: this code takes data and returns data. inspection.ts has the parts that inspect a node for the operator (`weft
 * doctor`, `weft explain`).
 */
import type { ConfigObject } from "../cni/config.ts";
import type { Family } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Device } from "../kernel/device.ts";
import type { Link } from "../kernel/link.ts";
import type { Tunnel } from "../tables/node-rules.ts";
import type { Inspection } from "./inspection.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { PeerEntries, PeerProblem } from "./state.ts";

/** A key of net-conf.json, documented for operators. */
export interface NetConfKey {
  /** The name in flannel's spelling. */
  readonly name: string;
  /** The valid values, as text. */
  readonly values: string;
  /** The default. Undefined if the key is required or has no default. */
  readonly standard?: string;
  readonly meaning: string;
  /** The values of `Type` for which the key is valid. Undefined means all. */
  readonly types?: readonly string[];
  /** True for a key of flannel that has no effect in weft and causes a warning. */
  readonly isIdle?: boolean;
}

/** A backend's settings from net-conf.json. */
export interface BackendConf {
  /** The backend's name. */
  readonly type: string;
}

export interface ConfContext {
  /** The value of net-conf.json's `Type` in lower case. It may select another backend. */
  readonly type: string;
  readonly networks: readonly Prefix[];
}

/** The part of a Node's annotations that says how to send to it, besides its backend's name and its addresses. */
export interface Announced {
  /** JSON text in the backend's own format, by family of the underlay. */
  readonly data?: Partial<Readonly<Record<Family, string>>>;
  /** A UDP port, for backends whose data cannot contain it in flannel's format. */
  readonly port?: number;
}

/** The data that this node's backend announces to peers, in the backend's own format, by family of the underlay. */
export type Endpoints = Partial<Readonly<Record<Family, unknown>>>;

/** A device of a backend on this node, in the kernel or recorded from an earlier announcement. */
export interface KnownDevice {
  readonly name: string;
}

/** The subnets of a peer for which packets are sent by the peer's backend. */
export interface Sending<P extends Peer> {
  readonly peer: P;
  readonly subnets: readonly Prefix[];
}

export interface BackendTask<C extends BackendConf, P extends Peer, Known extends KnownDevice, Channel> {
  readonly conf: C;
  /** True if this node receives by this backend and announces it. */
  readonly isOwn: boolean;
  readonly networks: readonly Prefix[];
  readonly node: LocalNode;
  /** All peers that announce this backend, including those to which plain routes lead. */
  readonly peers: readonly P[];
  readonly sending: readonly Sending<P>[];
  readonly known: readonly Known[];
  /** The channels by which the node continues to receive although no node announces them any more. */
  readonly keep: readonly Channel[];
}

/** A backend's contribution to the desired state of the kernel. Undefined lists are empty. */
export interface Contribution {
  readonly devices?: readonly Device[];
  readonly entries?: readonly PeerEntries[];
  /** The MTU of packets that it sends, in bytes. Undefined if it sends none, or if they may have the underlay's MTU. */
  readonly mtu?: number;
  /** The data to announce if this is the node's own backend. */
  readonly endpoints?: Endpoints;
  /** The properties of its incoming packets, for packets whose sender can only be verified by weft's rules. */
  readonly tunnels?: readonly Tunnel[];
  /** True if packets from a peer may arrive by another path than packets to it take. */
  readonly isAsymmetric?: boolean;
  readonly problems?: readonly PeerProblem[];
}

/** This backend's settings from a plugin's own configuration, on a host without weftd. */
export interface InlineConf<C extends BackendConf, P extends Peer, Known extends KnownDevice> {
  readonly conf: C;
  readonly known: readonly Known[];
  /** Settings that apply to each peer and override the peer's own. */
  readonly peers?: Partial<P>;
}

/** How a node announces to its peers by which method they must send to it. */
export interface Announcement<C extends BackendConf = BackendConf, P extends Peer = Peer> {
  /** Returns the data that this node announces. */
  announce(conf: C, endpoints: Endpoints): Announced;
  /** Returns the underlay families that the backend uses on this node. Their public addresses are announced. */
  families(node: LocalNode, endpoints: Endpoints): readonly Family[];
  /**
   * Returns `base` with the data that the peer announces. Passes data that cannot be parsed to `tell` and leaves it
   * out; never throws.
   */
  readPeer(base: Peer, announced: Announced, tell: (family: Family, problem: string) => void): P;
  /** Returns the backend's own part of a peer in the node table. */
  encodePeer(peer: P): object;
  /** The keys of a node in a nodes file. Each function parses a value and throws `AddressError` if it is invalid. */
  readonly fileKeys: Readonly<Record<string, (text: string) => string>>;
  /** Returns the data that a node of a nodes file is assumed to announce. `stated` has the values of its `fileKeys`. */
  announceFor(
    conf: C,
    node: { readonly name: string; readonly families: readonly Family[]; readonly stated: ReadonlyMap<string, string> },
  ): Announced;
}

/**
 * The channels on which a node receives (in vxlan: VNI and port). Plain data: two channels are equal if their JSON is
 * equal.
 */
export interface Channels<C extends BackendConf, P extends Peer, Known extends KnownDevice, Channel> {
  /** Returns the channels on this node's own devices among `known` that exist. */
  of(known: readonly Known[]): readonly Channel[];
  /** Returns the channels on devices in their desired state. */
  in(devices: readonly Device[]): readonly Channel[];
  /** Returns the channels on which a node with this announcement receives from `peer`. */
  to(conf: C, peer: P): readonly Channel[];
}

/** Documentation of a backend's part of net-conf.json, for operators. */
export interface Manual {
  /** Its values of `Type`, each with its meaning. */
  readonly words: Readonly<Record<string, string>>;
  /** Its keys of `Backend`, except `Type`. */
  readonly keys: readonly NetConfKey[];
}

export interface Backend<
  C extends BackendConf = BackendConf,
  P extends Peer = Peer,
  Known extends KnownDevice = KnownDevice,
  Channel = unknown,
> {
  /** Its name in the annotation backend-type and in net-conf.json. */
  readonly name: string;
  /** The values of net-conf.json's `Type` that select it, including its name. */
  readonly words: readonly string[];
  /**
   * Reads the settings: all of them if `type` selects this backend, else only those that this node needs to send to
   * peers that announce it. Throws `CniError` 7 for an invalid value.
   */
  readConf(object: ConfigObject, context: ConfContext): C;

  /** The chained executable that ties pods to the backend (plugins/<name>). Undefined if there is none. */
  readonly executable: string | undefined;
  /** Reads `peers` in that executable's own configuration. Throws `CniError` 7. */
  inline?(config: ConfigObject, node: LocalNode): InlineConf<C, P, Known>;

  /** True if its nodes also accept a peer's packets by a plain route, if the peer prefers that. */
  readonly takesPlainRoutes: boolean;
  /**
   * True if its nodes receive packets from pods with the pods' own addresses, and reply to them. Pods' packets to these
   * nodes are then not masqueraded.
   */
  readonly seesPods: boolean;
  /** True if, as this node's own backend, it also sends to peers that have not announced a backend yet. */
  readonly reachesUnannounced: boolean;
  /** True if, as this node's own backend, it uses plain routes to peers on the link that accept them. [never] */
  routesDirectly?(conf: C): boolean;

  /** Returns `base` with the backend's own part of a peer in the node table, or in an executable's `peers`. [base] */
  decodePeer?(base: Peer, object: ConfigObject): P;

  /**
   * Returns its devices among `links`, and devices that are only remembered (hardware addresses by name, as peers know
   * them). [none]
   */
  known?(links: readonly Link[], remembered: ReadonlyMap<string, string>): readonly Known[];
  /** Returns the desired state for this backend. Never throws: whatever cannot be served is in `problems`. */
  plan(task: BackendTask<C, P, Known, Channel>): Contribution;

  /**
   * Used only by weftd and by `weft status`, `doctor` and `explain`. Each is in a file of its name, which is not part
   * of the executables' image (hack/compile/plugins.ts).
   */
  readonly manual: Manual;
  readonly announcement: Announcement<C, P>;
  readonly channels: Channels<C, P, Known, Channel>;
  readonly inspection: Inspection<C>;
}
