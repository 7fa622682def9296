/** Judges whether a reservation is still in use. If in doubt, it is. Pure. */

import { formatAddress } from "../../pkg/ip/address.ts";
import { isMadeByHand } from "../../pkg/ipam/reservation.ts";
import { ownerMark } from "../../pkg/kernel/owner.ts";
import type { HeldAddress } from "../node/namespaces.ts";
import type { Dated } from "./reservations.ts";
import type { CachedResult, RememberedAttachment } from "./results.ts";

export interface Evidence {
  /** Addresses in all namespaces of the node. */
  readonly addresses: readonly HeldAddress[];
  /** False if some namespaces could not be read. */
  readonly isComplete: boolean;
  /** Aliases of links in all namespaces of the node: mark -> description of the link. */
  readonly marks: ReadonlyMap<string, string>;
  /** Returns the runtime's cached result. */
  readonly resultOf: (attachment: RememberedAttachment) => CachedResult | undefined;
  readonly nowMs: number;
  /** Younger reservations may belong to an ADD in progress. */
  readonly graceMs: number;
}

/**
 * The state of a reservation.
 *
 * - `used`: an interface has the address.
 * - `remembered`: the runtime will call DEL for it.
 * - `manual`: an administrator created the file.
 * - `young`: it is too early to judge.
 * - `unknown`: some namespaces could not be read.
 * - `leaked`: no pod has the address.
 */
export type State = "used" | "remembered" | "manual" | "young" | "unknown" | "leaked";

export interface Verdict {
  readonly state: State;
  /** The reason, for an operator. */
  readonly reason: string;
}

export function judge(network: string, reservation: Dated, evidence: Evidence): Verdict {
  const { containerId, ifName } = reservation;
  const address = formatAddress(reservation.address);
  const held = evidence.addresses.find((each) => each.address === address);
  if (held !== undefined) return { state: "used", reason: `${held.ifName} in ${held.namespace}` };
  const link = markedLink(network, reservation, evidence.marks);
  if (link !== undefined) return { state: "used", reason: `link ${link} has its mark` };
  const result = containerId === "" ? undefined : evidence.resultOf({ network, containerId, ifName });
  if (result !== undefined && !result.isNetnsGone)
    return { state: "remembered", reason: `the runtime's ${result.path}` };
  if (isMadeByHand(reservation)) {
    const reason =
      "created by an administrator: the file names no container and interface; remove the file to free the address";
    return { state: "manual", reason };
  }
  const ageMs = evidence.nowMs - reservation.modifiedMs;
  if (ageMs < evidence.graceMs) {
    return {
      state: "young",
      reason: `reserved ${Math.max(0, Math.round(ageMs / 1000))} s ago; its ADD may be in progress`,
    };
  }
  if (!evidence.isComplete) return { state: "unknown", reason: "some network namespaces cannot be read from here" };
  const memory =
    result === undefined
      ? "the runtime has no cached result"
      : `the runtime's ${result.path} names ${result.netns}, which is gone`;
  return { state: "leaked", reason: `no interface has it, no link has its mark, ${memory}` };
}

/**
 * Returns the link with the reservation's mark. A reservation of the old format names no interface, so any link of its
 * container counts.
 */
function markedLink(
  network: string,
  { containerId, ifName }: Dated,
  marks: ReadonlyMap<string, string>,
): string | undefined {
  if (containerId === "") return undefined;
  if (ifName !== undefined) return marks.get(ownerMark({ network, containerId, ifName }));
  const start = ownerMark({ network, containerId, ifName: "" });
  for (const [mark, link] of marks) if (mark.startsWith(start)) return link;
  return undefined;
}
