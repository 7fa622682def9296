/**
 * What a backend is: a way by which nodes send each other their pods' packets. Each has a folder here, and a line in
 * registry.ts; whatever differs from one to the other is behind this contract.
 *
 * A node receives by its own backend, and sends to each peer as that peer announces to receive. So one node may use
 * several of them at once: a cluster changes from one to the other node by node.
 *
 * Pure: what is here takes data and returns data. What looks at a node for a person (`weft doctor`, `weft explain`) is in
 * inspection.ts.
 */
import type { ConfigObject } from "../cni/config.ts";
import type { Family } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Device } from "../kernel/device.ts";
import type { Link } from "../kernel/link.ts";
import type { PeerForwarding, PeerNeighbour, PeerRoute } from "../reconcile/data-path.ts";
import type { Tunnel } from "../tables/node-rules.ts";
import type { Inspection } from "./inspection.ts";
import type { LocalNode, Peer } from "./node.ts";
import type { PeerProblem } from "./state.ts";

/** A key of net-conf.json, as an operator should know it. */
export interface NetConfKey {
  /** As flannel spells it. */
  readonly name: string;
  /** What it may be, in words. */
  readonly values: string;
  /** Absent: it has to be stated, or is nothing. */
  readonly standard?: string;
  readonly meaning: string;
  /** The words of `Type` that it goes with; all when left out. */
  readonly types?: readonly string[];
  /** flannel's, without effect here: named in a warning. */
  readonly isIdle?: boolean;
}

/** A backend's settings of net-conf.json. */
export interface BackendConf {
  /** The backend's name. */
  readonly type: string;
}

export interface ConfContext {
  /** What net-conf.json says is the `Type`, in lower case: possibly another backend's. */
  readonly type: string;
  readonly networks: readonly Prefix[];
}

/** What a Node's annotations say of how it is sent to, beside its backend's name and its addresses. */
export interface Announced {
  /** Text of the backend's own form (JSON), by the family of the underlay that it is about. */
  readonly data?: Partial<Readonly<Record<Family, string>>>;
  /** UDP port, for backends whose data has no place for it in flannel's form. */
  readonly port?: number;
}

/** What the backend of this node makes peers know of it: its own form, by the family of the underlay. */
export type Endpoints = Partial<Readonly<Record<Family, unknown>>>;

/** A device of a backend that this node has: in the kernel, or in the memory of what was announced. */
export interface KnownDevice {
  readonly name: string;
}

/** Subnets of a peer that are sent to as it announces. */
export interface Sending<P extends Peer> {
  readonly peer: P;
  readonly subnets: readonly Prefix[];
}

export interface BackendTask<C extends BackendConf, P extends Peer, Known extends KnownDevice, Channel> {
  readonly conf: C;
  /** This node receives by this backend, and announces it. */
  readonly isOwn: boolean;
  readonly networks: readonly Prefix[];
  readonly node: LocalNode;
  /** All that announce this backend, whichever way they are sent to. */
  readonly peers: readonly P[];
  readonly sending: readonly Sending<P>[];
  readonly known: readonly Known[];
  /** What it goes on receiving by, although nobody announces that any more. */
  readonly keep: readonly Channel[];
}

/** What the kernel should hold for one peer; what is absent is nothing. */
export interface PeerEntries {
  readonly peer: string;
  readonly routes?: readonly PeerRoute[];
  readonly neighbours?: readonly PeerNeighbour[];
  readonly forwarding?: readonly PeerForwarding[];
}

/** What a backend adds to what the kernel should hold; what is absent is nothing. */
export interface Contribution {
  readonly devices?: readonly Device[];
  readonly entries?: readonly PeerEntries[];
  /** Of the packets that it sends, in bytes; absent: it sends none, or all that the underlay carries. */
  readonly mtu?: number;
  /** What is announced where this is the node's own backend. */
  readonly endpoints?: Endpoints;
  /** What its packets look like when they come in, where nothing else proves that they are a node's. */
  readonly tunnels?: readonly Tunnel[];
  /** Packets of a peer may come by another way than packets to it take. */
  readonly isAsymmetric?: boolean;
  readonly problems?: readonly PeerProblem[];
}

/** How a plugin's own configuration, on a host without weftd, states this backend. */
export interface InlineConf<C extends BackendConf, P extends Peer, Known extends KnownDevice> {
  readonly conf: C;
  readonly known: readonly Known[];
  /** What holds of each of its peers, whatever stands beside it there. */
  readonly peers?: Partial<P>;
}

/** How a node tells its peers by which way it is sent to. */
export interface Announcement<C extends BackendConf = BackendConf, P extends Peer = Peer> {
  /** What this node announces. */
  announce(conf: C, endpoints: Endpoints): Announced;
  /** The families of the underlay that this node takes part in by it: those whose public address is announced. */
  families(node: LocalNode, endpoints: Endpoints): readonly Family[];
  /** `base` with what the peer announces of itself. What cannot be read is told, and left out; never throws. */
  readPeer(base: Peer, announced: Announced, tell: (family: Family, problem: string) => void): P;
  /** Its own part of a peer in the node table. */
  encodePeer(peer: P): object;
  /** Keys of a node in a nodes file: each reads its text, and throws `AddressError` for what is wrong. */
  readonly fileKeys: Readonly<Record<string, (text: string) => string>>;
  /** What a node of a nodes file is taken to announce; `stated` are its `fileKeys`. */
  announceFor(
    conf: C,
    node: { readonly name: string; readonly families: readonly Family[]; readonly stated: ReadonlyMap<string, string> },
  ): Announced;
}

/** What a node receives by (in vxlan: VNI and port). Plain data: two are the same if their JSON is. */
export interface Channels<C extends BackendConf, P extends Peer, Known extends KnownDevice, Channel> {
  /** On this node's own devices of `known` that are there. */
  of(known: readonly Known[]): readonly Channel[];
  /** On devices as they should be. */
  in(devices: readonly Device[]): readonly Channel[];
  /** As a node that announces this takes it. */
  to(conf: C, peer: P): readonly Channel[];
}

/** What an operator should know of a backend's part of net-conf.json. */
export interface Manual {
  /** Its words of `Type`, each with its meaning. */
  readonly words: Readonly<Record<string, string>>;
  /** Its keys of `Backend`, `Type` apart. */
  readonly keys: readonly NetConfKey[];
}

export interface Backend<
  C extends BackendConf = BackendConf,
  P extends Peer = Peer,
  Known extends KnownDevice = KnownDevice,
  Channel = unknown,
> {
  /** As it is announced (backend-type), and called in net-conf.json. */
  readonly name: string;
  /** What net-conf.json's `Type` may say for it; its own name among them. */
  readonly words: readonly string[];
  /**
   * Reads its settings: all of them where `type` is one of its words, else those that this node needs to send to peers
   * that announce it. Throws `CniError` 7 for a value that is wrong.
   */
  readConf(object: ConfigObject, context: ConfContext): C;

  /** The chained executable that ties a pod to it (plugins/<name>); undefined: there is none. */
  readonly executable: string | undefined;
  /** `peers` in that executable's own configuration. Throws `CniError` 7. */
  inline?(config: ConfigObject, node: LocalNode): InlineConf<C, P, Known>;

  /** Its nodes take a peer's packets by a plain route as well, where peers find that better. */
  readonly takesPlainRoutes: boolean;
  /** Its nodes see pods under their own addresses, and answer them there: pods' packets to them are not masqueraded. */
  readonly seesPods: boolean;
  /** Where it is this node's own: peers that have not announced anything yet are sent to all the same. */
  readonly reachesUnannounced: boolean;
  /** Where it is this node's own: peers on the link are sent to by plain routes, if they take them. [never] */
  routesDirectly?(conf: C): boolean;

  /** `base` with the backend's own part of a peer in the node table, or in an executable's `peers`. [base] */
  decodePeer?(base: Peer, object: ConfigObject): P;

  /** Its devices among `links`, and those that are only remembered: hardware addresses by name, as peers know them. [none] */
  known?(links: readonly Link[], remembered: ReadonlyMap<string, string>): readonly Known[];
  /** What the kernel should hold for it. Throws nothing: what cannot be served is one of `problems`. */
  plan(task: BackendTask<C, P, Known, Channel>): Contribution;

  /**
   * For weftd, and for `weft status`, `doctor` and `explain`: each in a file of its name, which the executables' image is
   * built without (hack/compile/plugins.ts).
   */
  readonly manual: Manual;
  readonly announcement: Announcement<C, P>;
  readonly channels: Channels<C, P, Known, Channel>;
  readonly inspection: Inspection<C>;
}
