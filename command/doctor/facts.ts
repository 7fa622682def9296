/** What doctor knows of a node: gathered in one go (gather.ts), judged without it (checks/). */

import type { Renumbering } from "../../pkg/backend/renumbering.ts";
import type { DesiredState } from "../../pkg/backend/state.ts";
import type { Family } from "../../pkg/ip/address.ts";
import type { ObservedProxy } from "../../pkg/kernel/neighbour-proxy.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import type { SysctlName } from "../../pkg/kernel/sysctl.ts";
import type { NftChain } from "../../pkg/nft/ruleset.ts";
import type { Ruleset } from "../../pkg/packet-walk/ruleset.ts";
import type { PodEnds } from "../../pkg/reconcile/pod-ends.ts";
import type { Room } from "../../pkg/sys/system.ts";
import type { OwnedPart, PodRulesObstacle } from "../../pkg/tables/pod-rules.ts";
import type { AttachSettings, NetworkFile, NetworkFolder } from "../node/networks.ts";
import type { KnownNodes, RunDirectory } from "../node/run-dir.ts";
import type { ServicesPage } from "../node/services-page.ts";
import type { Complaint } from "../node/trial.ts";
import type { Readiness } from "../node/weftd.ts";

export interface Facts {
  /** Of this very file, to be run again. */
  readonly command: string;
  /** Checks that cannot see what they look at, as in a container: by name, with the reason. */
  readonly unseen: ReadonlyMap<string, string>;
  readonly kernel: KernelFacts;
  readonly run: RunDirectory;
  /** False where nothing tells that a weftd ever ran here: the node has the executables alone. */
  readonly hasWeftd: boolean;
  /** The node table, if it is of this boot. */
  readonly table: KnownNodes | undefined;
  /** Of this node's pods; those of `table`, else IPv4. */
  readonly families: ReadonlySet<Family>;
  /** Undefined where no weftd lives. */
  readonly readiness: Readiness | undefined;
  readonly observed: KernelSnapshot;
  /** What the kernel should hold; undefined without a table. */
  readonly desired: DesiredState | undefined;
  /** A setting below /proc/sys; undefined where the kernel has none of that name. */
  readonly sysctl: (name: SysctlName) => string | undefined;
  readonly rules: RuleFacts;
  readonly networks: NetworkFolder;
  /** weftd's own file among them. */
  readonly own: NetworkFile | undefined;
  /** What weft's plugins do not take of the networks' files. */
  readonly complaints: readonly Complaint[];
  readonly attachment: AttachSettings;
  /** The host's ends of the pods that run. */
  readonly ends: PodEnds;
  /** IPv6 addresses for which the kernel answers in place of their hosts. */
  readonly proxies: readonly ObservedProxy[];
  readonly plugins: PluginFacts;
  readonly rooms: readonly { readonly path: string; readonly room: Room }[];
  readonly podRules: PodRuleFacts;
  readonly services: ServiceFacts;
  readonly leases: LeaseFacts;
  /** Pods outside this node's subnets, and what is kept for them; undefined without a table. */
  readonly renumbering: Renumbering | undefined;
  readonly networkd: NetworkdFacts;
  readonly networkManager: NetworkManagerFacts;
  /** The devices to other nodes, and whether they leave checksums to the hardware. */
  readonly offloads: readonly { readonly device: string; readonly isOn: boolean }[];
  readonly probes: readonly Probe[];
}

export interface KernelFacts {
  /** As `uname -r` says it. */
  readonly release: string;
  /** Kinds of devices that it cannot make. */
  readonly missingKinds: readonly string[];
  readonly hasNetfilter: boolean;
}

export interface RuleFacts {
  readonly ruleset: Ruleset;
  /** All chains of IP packets. */
  readonly chains: readonly NftChain[];
  /** nft commands without which other programs' forward chains drop pods' packets. */
  readonly missingAccepts: readonly string[];
  readonly legacy: readonly LegacyTable[];
}

export interface ServiceFacts {
  /** What weftd says of Services; undefined where it says nothing. */
  readonly page: ServicesPage | undefined;
  /** weftd lives, and leaves Services to another program. */
  readonly isOthers: boolean;
  /** weftd's table of Services stands. */
  readonly hasTable: boolean;
  /** Options of the kernel's configuration that Services need and that are off: "NFT_NUMGEN". */
  readonly missingOptions: readonly string[];
  /** Process ids of kube-proxies of this network namespace. */
  readonly proxies: readonly string[];
  /** A process of this node accepts connections at kube-proxy's health port. */
  readonly isHealthPortTaken: boolean;
  /** kube-proxy's, as nft names them. */
  readonly proxyRules: readonly string[];
  /** Processors of the machine. */
  readonly processors: number;
}

/** Rules of single pods. */
export interface PodRuleFacts {
  readonly missing: readonly OwnedPart[];
  /** Of what is missing: what cannot be put back. */
  readonly obstacles: readonly PodRulesObstacle[];
  /** Of which nothing tells whether it is missing. */
  readonly unchecked: readonly PodRulesObstacle[];
  /** Marks of pods that the runtime has no result of. */
  readonly unknown: readonly string[];
}

/** iptables-legacy's table `filter`, in use. */
export interface LegacyTable {
  readonly family: Family;
  readonly program: string;
  /** What `iptables-legacy -S FORWARD` prints; undefined where there is no such program. */
  readonly forward: string | undefined;
}

export interface PluginFacts {
  readonly directory: string;
  /** By name; "other" is what this file answers to as well, and is not of its build. */
  readonly files: ReadonlyMap<string, "own" | "other">;
}

export interface LeaseFacts {
  readonly dataDir: string;
  /** False where some of the node's namespaces cannot be seen from here: none is taken for leaked then. */
  readonly isComplete: boolean;
  /** Reservations without a pod, in all networks. */
  readonly leaked: readonly { readonly network: string; readonly address: string; readonly reason: string }[];
  readonly uses: readonly { readonly subnet: string; readonly used: number; readonly capacity: bigint }[];
}

export interface NetworkdFacts {
  readonly isRunning: boolean;
  readonly managesForeignRoutes: boolean;
  readonly managesForeignRules: boolean;
}

export interface NetworkManagerFacts {
  readonly isRunning: boolean;
  /** Patterns of interfaces' names that it leaves alone. */
  readonly unmanaged: readonly string[];
}

/** What came of datagrams to closed ports of a peer. */
export interface Probe {
  readonly peer: string;
  readonly address: string;
  /** One of the size that the underlay's MTU promises, whole. */
  readonly fullBytes: number;
  readonly isFullAnswered: boolean;
  /** Small ones, where that one was not answered. */
  readonly isAnswered: boolean;
  /** The largest that came through where the full one did not; bytes of the IP packet. */
  readonly largestBytes: number | undefined;
  /** Through the device that leads to it; undefined where the peer is reached by none. */
  readonly tunnel: { readonly device: string; readonly address: string; readonly isAnswered: boolean } | undefined;
}
