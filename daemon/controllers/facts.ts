/** Facts that controllers of this node publish for each other. */

import { isDeepStrictEqual } from "node:util";
import type { LocalNode } from "../../pkg/backend/node.ts";
import type { Renumbering } from "../../pkg/backend/renumbering.ts";
import type { Address, Family } from "../../pkg/ip/address.ts";
import type { Prefix } from "../../pkg/ip/prefix.ts";
import type { LinkReference } from "../../pkg/kernel/link.ts";
import type { Judgement, Question } from "../../pkg/policy/judgement.ts";
import type { PolicyChange, Profile } from "../../pkg/policy/state.ts";
import type { Frontend, FrontendChange } from "../../pkg/services/frontend.ts";
import type { AddressChange, Tunnel } from "../../pkg/tables/node-rules.ts";
import { FactKey } from "../core/topic.ts";

/** The choices of `peers`, before they are programmed, without what depends on single peers. */
export interface NodeChoice {
  readonly node: LocalNode;
  /** The underlay's interface. */
  readonly underlayName: string;
  /** The chained executable of this node's backend; undefined if the backend has none. */
  readonly executable: string | undefined;
  /** The networks of all pods. */
  readonly networks: readonly Prefix[];
  /** The MTU of pods and bridge, in bytes. */
  readonly podMtu: number;
  /** The names of the devices to other nodes. */
  readonly devices: readonly string[];
  readonly tunnels: readonly Tunnel[];
  /** The peers' subnets with routes of this node that overlap one of `former`. */
  readonly takenSubnets: readonly Prefix[];
  /** The subnets that this node had earlier in this boot. */
  readonly former: readonly Prefix[];
}

export const NODE_CHOICE = new FactKey<NodeChoice>("the node's choices");

/** Addresses of peers that this node's rules need, before the peers' entries are programmed. */
export interface PeerAddresses {
  readonly choice: NodeChoice;
  /** Destinations that are not pods but to which pods send with their own addresses. */
  readonly unmasqueraded: readonly Address[];
  /** Addresses from which peers' packets may arrive. */
  readonly senders: readonly Address[];
  /**
   * The difference from an earlier value, if only addresses of single peers have changed. `since` is the list `senders`
   * of that value, the same object: a reference to the value itself would keep all earlier values in memory.
   */
  readonly change?: AddressChange & { readonly since: PeerAddresses["senders"] };
}

export const PEER_ADDRESSES = new FactKey<PeerAddresses>("the peers' addresses", isSameAddresses);

/** A value with a `change` differs from the one before. */
function isSameAddresses(a: PeerAddresses, b: PeerAddresses): boolean {
  if (b.change !== undefined) return false;
  const lists = ({ unmasqueraded, senders }: PeerAddresses) => [unmasqueraded, senders];
  return a.choice === b.choice && isDeepStrictEqual(lists(a), lists(b));
}

/** A VXLAN device, this node's address on it, and the addresses of its peers' VTEPs. */
export interface GuardedDevice extends LinkReference {
  readonly local: Address;
  readonly peers: readonly Address[];
}

/** The VXLAN devices as `peers` has programmed them. */
export const GUARDED_DEVICES = new FactKey<readonly GuardedDevice[]>("VXLAN devices");

/** The part of the choices that `peers` has programmed last, without what depends on single peers. */
export interface ProgrammedWay {
  readonly devices: readonly LinkReference[];
  /** The subnets of this node's pods. */
  readonly subnets: readonly Prefix[];
  readonly networks: readonly Prefix[];
  readonly podMtu: number;
  readonly executable: NodeChoice["executable"];
}

export const PROGRAMMED_WAY = new FactKey<ProgrammedWay>("the programmed data path");

/** The state of this node's pods, as `attach` has observed it. */
export interface PodsSeen {
  /** True if pods are on the bridge. */
  readonly hasPorts: boolean;
  /** Undefined if the running pods are unknown. */
  readonly renumbering: Pick<Renumbering, "outside" | "former"> | undefined;
  /** The number of changes of gateway addresses on the bridge. */
  readonly changes: number;
}

export const PODS_SEEN = new FactKey<PodsSeen>("this node's pods");

/** The last addresses whose rules `firewall` has tried to program. */
export const FIREWALLED = new FactKey<PeerAddresses>("firewalled", (a, b) => a === b);

/** The last choice that `attach` has handled. Objects on the bridge for earlier choices are removed by then. */
export const ATTACHED = new FactKey<NodeChoice>("attached", (a, b) => a === b);

/** Whether this weftd programs Services. Undefined counts as false. */
export interface ProxyTurn {
  /**
   * False while another process serves Services in kube-proxy's place: then weftd neither programs nor removes
   * anything.
   */
  readonly isOurs: boolean;
}

/** Published by `service-health`, which listens at kube-proxy's health port while weftd serves Services. */
export const PROXY_TURN = new FactKey<ProxyTurn>("the proxy of this node");

/** Changes of Services that are not programmed yet. */
export interface QueuedChanges {
  /** The time of the oldest change, in milliseconds of the clock; undefined if none is queued. */
  readonly sinceMs: number | undefined;
  /** The numbers of changed Services and EndpointSlices. */
  readonly services: number;
  readonly endpoints: number;
}

/** Published by the controller of Services when a change arrives and when its pass has ended. */
export const SERVICES_QUEUED = new FactKey<QueuedChanges>("queued changes of Services");

/** One attempt to program Services. */
export interface ServicesSync {
  /** `full` compares everything with the kernel; `partial` sends changes. */
  readonly kind: "full" | "partial";
  readonly isSuccess: boolean;
  /** The time of its end, in milliseconds of the clock. */
  readonly atMs: number;
  readonly durationMs: number;
  /** The families that it concerned. */
  readonly families: readonly Family[];
  /** The numbers of programmed changes of Services and of EndpointSlices. */
  readonly serviceChanges: number;
  readonly endpointChanges: number;
  /** `triggeredMs` of the programmed EndpointSlices, in milliseconds since 1970, with their family. */
  readonly triggers: readonly { readonly family: Family; readonly triggeredMs: number }[];
}

/** The last attempt. Each one is published, and subscribers receive each. */
export const SERVICES_SYNC = new FactKey<ServicesSync>("syncs of Services", (a, b) => a === b);

/** A Service of type LoadBalancer with externalTrafficPolicy Local. */
export interface HealthCheckedService {
  /** "namespace/name". */
  readonly service: string;
  /** `spec.healthCheckNodePort`. */
  readonly port: number;
  /** The number of distinct addresses of ready endpoints on this node. Terminating endpoints do not count. */
  readonly localEndpoints: number;
}

/** Data about Services besides their frontends, for health checks and metrics. */
export interface ServicesSeen {
  readonly healthChecks: readonly HealthCheckedService[];
  /** The node's addresses at which NodePorts are served; undefined means all. */
  readonly nodePortAddresses: readonly Address[] | undefined;
  /** The numbers of Service ports of traffic policy Local that have endpoints, but none on this node. */
  readonly withoutLocalEndpoints: readonly {
    readonly family: Family;
    readonly policy: "internal" | "external";
    readonly count: number;
  }[];
  /** Returns the name ("namespace/name") of the Service with this frontend, by `frontendKey`. */
  serviceAt(frontendKey: string): string | undefined;
}

export const SERVICES_SEEN = new FactKey<ServicesSeen>("Services of this node", (a, b) => a === b);

/** The programmed state of Services, after each successful sync. */
export interface ProgrammedServices {
  /** The changes of the sync. Undefined if everything was compared with the kernel: then any frontend may differ. */
  readonly changes: readonly FrontendChange[] | undefined;
  /**
   * True if the kernel was changed. After a comparison of everything, earlier connections may have used other rules.
   */
  readonly hasWritten: boolean;
  /** Returns all current frontends. */
  frontends(): Iterable<Frontend>;
}

/** The last state. Each one is published, and subscribers receive each. */
export const SERVICES_PROGRAMMED = new FactKey<ProgrammedServices>("programmed Services", (a, b) => a === b);

/**
 * True while packets to 127.0.0.1 from other hosts are dropped. Published by the controller that programs this guard.
 * NodePorts are served on 127.0.0.1 only while it is true (`--nodeport-addresses localhost`).
 */
export const LOOPBACK_GUARDED = new FactKey<boolean>("the guard of 127.0.0.1");

/** One pass over the conntrack table. */
export interface ConntrackSweep {
  readonly family: Family;
  readonly durationMs: number;
  readonly deleted: number;
}

/** The last pass. Each one is published, and subscribers receive each. */
export const CONNTRACK_SWEEP = new FactKey<ConntrackSweep>("stale flows", (a, b) => a === b);

/** How this node treats NetworkPolicies. */
export interface PolicyState {
  readonly mode: "enforce" | "audit" | "off";
  /** True if the cluster has a NetworkPolicy or a ClusterNetworkPolicy. */
  readonly hasPolicies: boolean;
  /** What ADD does if weftd does not answer; `NetworkPolicyKey` of pkg/attachment/policy/protocol.ts explains it. */
  readonly fail: "closed" | "open";
}

/** Published once the mode is decided and the policies of the cluster are listed. */
export const POLICY_STATE = new FactKey<PolicyState>("the mode of NetworkPolicies");

/** The programmed state of policies, after each successful sync. */
export interface ProgrammedPolicies {
  /** The changes of the sync. Undefined if everything was compared with the kernel: then any entry may differ. */
  readonly changes: readonly PolicyChange[] | undefined;
  /** True if the kernel was changed. */
  readonly hasWritten: boolean;
  /**
   * The time, in milliseconds of the clock, since which another program may have removed the table or a part of it.
   * Connections that began after it may not have been judged. Undefined if no program has.
   */
  readonly damagedSinceMs: number | undefined;
  /** Returns what policies say about a connection, with the policies that decide. */
  judge(question: Question): Judgement;
  /** False if one side denies the connection, and would not only count and log it. */
  isAllowed(question: Question): boolean;
  /** Returns the profile with this number, which the kernel's log entries state; undefined if it is gone. */
  profile(number: number): Profile | undefined;
}

/** The last state. Each one is published, and subscribers receive each. */
export const POLICY_PROGRAMMED = new FactKey<ProgrammedPolicies>("programmed NetworkPolicies", (a, b) => a === b);

/** The addresses of one interface of a container. */
export interface AttachedAddresses {
  readonly containerId: string;
  readonly ifName: string;
  readonly addresses: readonly Address[];
}

/** Deletes tracked connections of earlier pods (`former-flows/`). */
export interface FlowRemover {
  /**
   * Notes a new attachment. Resolves when no connection of an earlier pod has one of its addresses, or at once if the
   * pod is not isolated. Rejects if the kernel refuses.
   */
  attached(attachment: AttachedAddresses, isIsolated: boolean): Promise<void>;
}

/** Published when weftd starts, if it serves NetworkPolicies. */
export const FORMER_FLOWS = new FactKey<FlowRemover>("the remover of former flows", (a, b) => a === b);
