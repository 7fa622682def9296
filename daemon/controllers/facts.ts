/** What controllers of this node publish for each other. */

import type { LocalNode } from "../../pkg/backend/node.ts";
import type { Renumbering } from "../../pkg/backend/renumbering.ts";
import type { Address, Family } from "../../pkg/ip/address.ts";
import type { Prefix } from "../../pkg/ip/prefix.ts";
import type { LinkReference } from "../../pkg/kernel/link.ts";
import type { Frontend, FrontendChange } from "../../pkg/services/frontend.ts";
import type { Tunnel } from "../../pkg/tables/node-rules.ts";
import { FactKey } from "../core/topic.ts";

/** What `peers` has chosen, before it is programmed. */
export interface NodeChoice {
  readonly node: LocalNode;
  /** The underlay's interface. */
  readonly underlayName: string;
  /** The chained executable of this node's backend; undefined where that has none. */
  readonly executable: string | undefined;
  /** All pods' networks. */
  readonly networks: readonly Prefix[];
  /** Of pods and bridge, in bytes. */
  readonly podMtu: number;
  /** Destinations that pods reach under their own address although they are no pods. */
  readonly unmasqueraded: readonly Address[];
  /** Names of the devices to other nodes. */
  readonly devices: readonly string[];
  readonly tunnels: readonly Tunnel[];
  /** Addresses that peers' packets may come from. */
  readonly senders: readonly Address[];
  /** Subnets of peers that this node has routes to. */
  readonly peerSubnets: readonly Prefix[];
  /** Subnets that this node had before, in this boot. */
  readonly former: readonly Prefix[];
}

export const NODE_CHOICE = new FactKey<NodeChoice>("the node's choice");

/** A VXLAN device, this node's address on it, and those of its peers' VTEPs. */
export interface GuardedDevice extends LinkReference {
  readonly local: Address;
  readonly peers: readonly Address[];
}

/** The VXLAN devices as `peers` has left them. */
export const GUARDED_DEVICES = new FactKey<readonly GuardedDevice[]>("VXLAN devices");

/** Of the choice that `peers` has programmed last: what depends on single peers is left out. */
export interface ProgrammedWay {
  readonly devices: readonly LinkReference[];
  /** Of this node's pods. */
  readonly subnets: readonly Prefix[];
  readonly networks: readonly Prefix[];
  readonly podMtu: number;
  readonly executable: NodeChoice["executable"];
}

export const PROGRAMMED_WAY = new FactKey<ProgrammedWay>("the way to peers");

/** What `attach` has found of this node's pods. */
export interface PodsSeen {
  /** Pods are on the bridge. */
  readonly hasPorts: boolean;
  /** Undefined where it is not known which pods run. */
  readonly renumbering: Pick<Renumbering, "outside" | "former"> | undefined;
  /** Gateway addresses on the bridge were changed so often. */
  readonly changes: number;
}

export const PODS_SEEN = new FactKey<PodsSeen>("this node's pods");

/** The last choice whose rules `firewall` has tried to put in place. */
export const FIREWALLED = new FactKey<NodeChoice>("firewalled", (a, b) => a === b);

/** The last choice that `attach` has seen to; what stood on the bridge for another one is gone. */
export const ATTACHED = new FactKey<NodeChoice>("attached", (a, b) => a === b);

/** Whether this weftd programs Services. Unknown (undefined) counts as not. */
export interface ProxyTurn {
  /** False while another process answers in kube-proxy's place: nothing is programmed then, and nothing removed. */
  readonly isOurs: boolean;
}

/** Published by `service-health`, which holds kube-proxy's health port as long as the turn is ours. */
export const PROXY_TURN = new FactKey<ProxyTurn>("the turn at Services");

/** Changes of Services that are not in the kernel yet. */
export interface QueuedChanges {
  /** Time of the oldest, in milliseconds of the clock; undefined: none is queued. */
  readonly sinceMs: number | undefined;
  /** How many of Services, and of EndpointSlices. */
  readonly services: number;
  readonly endpoints: number;
}

/** Published by the controller of Services when a change arrives, and when its pass has ended. */
export const SERVICES_QUEUED = new FactKey<QueuedChanges>("queued changes of Services");

/** One attempt to bring Services into the kernel. */
export interface ServicesSync {
  /** `full` compares all with the kernel; `partial` sends changes. */
  readonly kind: "full" | "partial";
  readonly isSuccess: boolean;
  /** Its end, in milliseconds of the clock. */
  readonly atMs: number;
  readonly durationMs: number;
  /** Families that it concerned. */
  readonly families: readonly Family[];
  /** Changes that it carried into the kernel: of Services, and of EndpointSlices. */
  readonly serviceChanges: number;
  readonly endpointChanges: number;
  /** `triggeredMs` of the EndpointSlices among them, in milliseconds since 1970, by their family. */
  readonly triggers: readonly { readonly family: Family; readonly triggeredMs: number }[];
}

/** The last one; each is published, and subscribers hear of each. */
export const SERVICES_SYNC = new FactKey<ServicesSync>("Services in the kernel", (a, b) => a === b);

/** A Service of type LoadBalancer and externalTrafficPolicy Local. */
export interface HealthCheckedService {
  /** "namespace/name". */
  readonly service: string;
  /** `spec.healthCheckNodePort`. */
  readonly port: number;
  /** Ready endpoints on this node, by distinct addresses. Terminating ones do not count. */
  readonly localEndpoints: number;
}

/** What is served beside frontends, and what is shown of them. */
export interface ServicesSeen {
  readonly healthChecks: readonly HealthCheckedService[];
  /** Addresses of this node that NodePorts are served at; undefined: all. */
  readonly nodePortAddresses: readonly Address[] | undefined;
  /** Service ports of traffic policy Local without an endpoint here though there are some elsewhere. */
  readonly withoutLocalEndpoints: readonly {
    readonly family: Family;
    readonly policy: "internal" | "external";
    readonly count: number;
  }[];
  /** Name of the Service ("namespace/name") that has a frontend, by `frontendKey`. */
  serviceAt(frontendKey: string): string | undefined;
}

export const SERVICES_SEEN = new FactKey<ServicesSeen>("Services of this node", (a, b) => a === b);

/** What the kernel does for Services, after each sync that succeeded. */
export interface ProgrammedServices {
  /** What the sync changed; undefined: all was compared with the kernel, and any of it may differ from before. */
  readonly changes: readonly FrontendChange[] | undefined;
  /** The kernel was changed. Where all was compared, connections may have met something else before. */
  readonly hasWritten: boolean;
  /** All frontends as they are now. */
  frontends(): Iterable<Frontend>;
}

/** The last one; each is published, and subscribers hear of each. */
export const SERVICES_PROGRAMMED = new FactKey<ProgrammedServices>("programmed Services", (a, b) => a === b);

/**
 * True while packets to 127.0.0.1 from other hosts are dropped. Published by the controller that keeps this guard; NodePorts
 * answer on 127.0.0.1 no sooner (`--nodeport-addresses localhost`).
 */
export const LOOPBACK_GUARDED = new FactKey<boolean>("the guard of 127.0.0.1");

/** One pass over conntrack's table. */
export interface ConntrackSweep {
  readonly family: Family;
  readonly durationMs: number;
  readonly deleted: number;
}

/** The last one; each is published, and subscribers hear of each. */
export const CONNTRACK_SWEEP = new FactKey<ConntrackSweep>("stale flows", (a, b) => a === b);
