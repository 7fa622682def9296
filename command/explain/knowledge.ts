/** What explain asks of a node; way.ts thinks about it without a kernel. */

import type { DesiredState } from "../../pkg/backend/state.ts";
import type { Address, Family } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import type { ObservedRoute, RouteQuestion } from "../../pkg/kernel/route.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import type { Ruleset } from "../../pkg/packet-walk/ruleset.ts";
import type { PodEnds } from "../../pkg/reconcile/pod-ends.ts";
import type { AttachSettings } from "../node/networks.ts";
import type { KnownNodes } from "../node/run-dir.ts";
import type { ServicesPage } from "../node/services-page.ts";

export interface Knowledge {
  /** Undefined where weftd has not served since the node booted. */
  readonly table: KnownNodes | undefined;
  readonly observed: KernelSnapshot;
  readonly desired: DesiredState | undefined;
  readonly attachment: AttachSettings;
  /** The host's ends of the pods that run. */
  readonly ends: PodEnds;
  readonly ruleset: Ruleset;
  /** What weftd says of Services; undefined where it says nothing. */
  readonly services: ServicesPage | undefined;
  /** Families with a table of iptables-legacy in use, whose rules are not seen here. */
  readonly legacy: readonly Family[];
  /** Whose address it is in host-local's directory; undefined where it is not reserved. */
  readonly reservationOf: (address: Address) => Owner | undefined;
  /** The command without which `bridge` does not answer for a pod that has a link of its own; undefined where it does. */
  readonly missingAnswer: (bridge: Link, address: Address) => string | undefined;
  /** What the kernel answers; its errno's name where it refuses. */
  readonly routeTo: (destination: Address, question?: RouteQuestion) => ObservedRoute | string;
}

export interface Owner {
  readonly containerId: string;
  readonly ifName: string | undefined;
  /** A path of the pod's network namespace, where it is known. */
  readonly namespace: string | undefined;
}

/** What is asked: a packet to `destination`, of the node's own, or of the pod or host that has `source`. */
export interface Question {
  readonly destination: Address;
  readonly source: Address | undefined;
  /** Which of a Service's endpoints is followed. [the likeliest] */
  readonly endpoint?: Address | undefined;
  readonly protocol: number | undefined;
  readonly port: number | undefined;
}
