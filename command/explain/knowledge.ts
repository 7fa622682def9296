/** What explain reads from a node. way.ts follows the packet with it, without a kernel. */

import type { DesiredState } from "../../pkg/backend/state.ts";
import type { Address, Family } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import type { ObservedRoute, RouteQuestion } from "../../pkg/kernel/route.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import type { Ruleset } from "../../pkg/packet-walk/ruleset.ts";
import type { PodEnds } from "../../pkg/reconcile/pod-ends.ts";
import type { AttachSettings } from "../node/networks.ts";
import type { JudgementPage, JudgementQuestion, PolicyAnswer } from "../node/policies-page.ts";
import type { KnownNodes } from "../node/run-dir.ts";
import type { ServicesPage } from "../node/services-page.ts";

export interface Knowledge {
  /** Undefined if weftd has not run since the node booted. */
  readonly table: KnownNodes | undefined;
  readonly observed: KernelSnapshot;
  readonly desired: DesiredState | undefined;
  readonly attachment: AttachSettings;
  /** The host's ends of the running pods' links. */
  readonly ends: PodEnds;
  readonly ruleset: Ruleset;
  /** weftd's report of Services. Undefined if weftd does not answer. */
  readonly services: ServicesPage | undefined;
  /** Asks weftd which policies decide about a connection. */
  readonly judge: (question: JudgementQuestion) => PolicyAnswer<JudgementPage>;
  /** True if frames that the bridge forwards pass the rules of the hook `forward` (br_netfilter). */
  readonly filtersBridged: (family: Family) => boolean;
  /** Families with a table of iptables-legacy in use. Its rules are not read here. */
  readonly legacy: readonly Family[];
  /** Returns the owner of an address in host-local's directory. Undefined if it is not reserved. */
  readonly reservationOf: (address: Address) => Owner | undefined;
  /** Returns the command that makes `bridge` answer for a pod with its own link. Undefined if it answers already. */
  readonly missingAnswer: (bridge: Link, address: Address) => string | undefined;
  /** Returns the kernel's route, or the name of its errno. */
  readonly routeTo: (destination: Address, question?: RouteQuestion) => ObservedRoute | string;
}

export interface Owner {
  readonly containerId: string;
  readonly ifName: string | undefined;
  /** A path of the pod's network namespace, if it is known. */
  readonly namespace: string | undefined;
}

/** The packet to follow: to `destination`, from the node itself, or from the pod or host with the address `source`. */
export interface Question {
  readonly destination: Address;
  readonly source: Address | undefined;
  /** The endpoint of a Service to follow. [the most likely] */
  readonly endpoint?: Address | undefined;
  readonly protocol: number | undefined;
  readonly port: number | undefined;
}
