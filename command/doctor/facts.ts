/** Everything that doctor reads from a node. gather.ts reads it at once, and checks/ judge it without further reads. */

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
import type { PoliciesPage } from "../node/policies-page.ts";
import type { KnownNodes, RunDirectory } from "../node/run-dir.ts";
import type { ServicesPage } from "../node/services-page.ts";
import type { Complaint } from "../node/trial.ts";
import type { Readiness } from "../node/weftd.ts";

export interface Facts {
  /** The path of this executable, for suggested commands. */
  readonly command: string;
  /** Checks that cannot observe their subject, for example in a container: name -> reason. */
  readonly unseen: ReadonlyMap<string, string>;
  readonly kernel: KernelFacts;
  readonly run: RunDirectory;
  /** False if there is no sign that weftd ever ran here: the node uses only the executables. */
  readonly hasWeftd: boolean;
  /** The node table, if it is of this boot. */
  readonly table: KnownNodes | undefined;
  /** Address families of this node's pods: those of `table`, or IPv4 without a table. */
  readonly families: ReadonlySet<Family>;
  /** Undefined if weftd is not running. */
  readonly readiness: Readiness | undefined;
  readonly observed: KernelSnapshot;
  /** The desired state of the kernel. Undefined without a table. */
  readonly desired: DesiredState | undefined;
  /** Reads a setting below /proc/sys. Undefined if the kernel has no such setting. */
  readonly sysctl: (name: SysctlName) => string | undefined;
  readonly rules: RuleFacts;
  readonly networks: NetworkFolder;
  /** weftd's own file among `networks`. */
  readonly own: NetworkFile | undefined;
  /** Errors that weft's plugins report for the network configurations. */
  readonly complaints: readonly Complaint[];
  readonly attachment: AttachSettings;
  /** The host's ends of the running pods' links. */
  readonly ends: PodEnds;
  /** IPv6 addresses for which the kernel answers in place of their hosts (proxy entries). */
  readonly proxies: readonly ObservedProxy[];
  readonly plugins: PluginFacts;
  readonly rooms: readonly { readonly path: string; readonly room: Room }[];
  readonly podRules: PodRuleFacts;
  readonly services: ServiceFacts;
  readonly policies: PolicyFacts;
  readonly leases: LeaseFacts;
  /** Pods outside this node's subnets, and the objects kept for them. Undefined without a table. */
  readonly renumbering: Renumbering | undefined;
  readonly networkd: NetworkdFacts;
  readonly networkManager: NetworkManagerFacts;
  /** The devices to other nodes, and whether checksum offload is on. */
  readonly offloads: readonly { readonly device: string; readonly isOn: boolean }[];
  readonly probes: readonly Probe[];
}

export interface KernelFacts {
  /** As `uname -r` prints it. */
  readonly release: string;
  /** Kinds of devices that the kernel does not support. */
  readonly missingKinds: readonly string[];
  readonly hasNetfilter: boolean;
}

export interface RuleFacts {
  readonly ruleset: Ruleset;
  /** All chains for IP packets. */
  readonly chains: readonly NftChain[];
  /**
   * nft commands for rules that are missing in other programs' forward chains, which drop pods' packets without them.
   */
  readonly missingAccepts: readonly string[];
  readonly legacy: readonly LegacyTable[];
}

export interface ServiceFacts {
  /** weftd's report of Services. Undefined if weftd does not answer. */
  readonly page: ServicesPage | undefined;
  /** True if weftd runs, and leaves Services to another program. */
  readonly isOthers: boolean;
  /** True if weftd's table of Services exists. */
  readonly hasTable: boolean;
  /** Kernel configuration options that Services need and that are off, such as "NFT_NUMGEN". */
  readonly missingOptions: readonly string[];
  /** Process ids of kube-proxy in this network namespace. */
  readonly proxies: readonly string[];
  /** True if a process accepts connections at kube-proxy's health port. */
  readonly isHealthPortTaken: boolean;
  /** kube-proxy's tables and chains, as nft names them. */
  readonly proxyRules: readonly string[];
  /** The number of the machine's processors. */
  readonly processors: number;
}

export interface PolicyFacts {
  /** weftd's report of policies. Undefined if weftd does not answer, or has none. */
  readonly page: PoliciesPage | undefined;
  /** True if weftd's table of policies exists. */
  readonly hasTable: boolean;
  readonly engines: readonly PolicyEngine[];
}

/** Another program that enforces NetworkPolicies. */
export interface PolicyEngine {
  readonly name: string;
  /** Its tables and chains, as nft names them. */
  readonly signs: readonly string[];
}

/** Rules of single pods. */
export interface PodRuleFacts {
  readonly missing: readonly OwnedPart[];
  /** Missing rules that cannot be restored. */
  readonly obstacles: readonly PodRulesObstacle[];
  /** Rules that cannot be checked. */
  readonly unchecked: readonly PodRulesObstacle[];
  /** Marks of pods without a cached result of the runtime. */
  readonly unknown: readonly string[];
}

/** iptables-legacy's table `filter`, in use. */
export interface LegacyTable {
  readonly family: Family;
  readonly program: string;
  /** The output of `iptables-legacy -S FORWARD`. Undefined if the program is not installed or fails. */
  readonly forward: string | undefined;
}

export interface PluginFacts {
  readonly directory: string;
  /** Plugins by name. "other" is a plugin that this executable contains, too, but of another build. */
  readonly files: ReadonlyMap<string, "own" | "other">;
}

export interface LeaseFacts {
  readonly dataDir: string;
  /** False if some network namespaces of the node cannot be read from here; then no reservation counts as leaked. */
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
  /** Patterns of interface names that NetworkManager does not manage. */
  readonly unmanaged: readonly string[];
}

/** The results of datagrams to closed ports of a peer. */
export interface Probe {
  readonly peer: string;
  readonly address: string;
  /** The size of the full datagram, which the underlay's MTU allows without fragmentation, in bytes. */
  readonly fullBytes: number;
  readonly isFullAnswered: boolean;
  /** True if the peer answered the full datagram or a small one. */
  readonly isAnswered: boolean;
  /** The largest size that was answered if the full one was not; bytes of the IP packet. */
  readonly largestBytes: number | undefined;
  /** The probe through the tunnel device. Undefined if the peer is reached without one. */
  readonly tunnel: { readonly device: string; readonly address: string; readonly isAnswered: boolean } | undefined;
}
