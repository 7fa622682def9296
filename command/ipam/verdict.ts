/** Whether a reservation still serves anybody. Pure; in doubt it does. */

import { formatAddress } from "../../pkg/ip/address.ts";
import { isMadeByHand } from "../../pkg/ipam/reservation.ts";
import { ownerMark } from "../../pkg/kernel/owner.ts";
import type { HeldAddress } from "../node/namespaces.ts";
import type { Dated } from "./reservations.ts";
import type { CachedResult, RememberedAttachment } from "./results.ts";

export interface Evidence {
  /** In all namespaces of the node. */
  readonly addresses: readonly HeldAddress[];
  /** False where some namespaces could not be looked into. */
  readonly isComplete: boolean;
  /** Aliases of links in all namespaces of the node: mark -> which link that is, in words. */
  readonly marks: ReadonlyMap<string, string>;
  /** What the runtime remembers. */
  readonly resultOf: (attachment: RememberedAttachment) => CachedResult | undefined;
  readonly nowMs: number;
  /** Younger ones may belong to an ADD that is still going on. */
  readonly graceMs: number;
}

/**
 * `used`: an interface has it. `remembered`: the runtime will call DEL for it. `manual`: an administrator made the file.
 * `young`: too early to tell. `unknown`: not all namespaces could be looked into. `leaked`: no pod has it.
 */
export type State = "used" | "remembered" | "manual" | "young" | "unknown" | "leaked";

export interface Verdict {
  readonly state: State;
  /** For an operator. */
  readonly reason: string;
}

export function judge(network: string, reservation: Dated, evidence: Evidence): Verdict {
  const { containerId, ifName } = reservation;
  const address = formatAddress(reservation.address);
  const held = evidence.addresses.find((each) => each.address === address);
  if (held !== undefined) return { state: "used", reason: `${held.ifName} in ${held.namespace}` };
  const link = markedLink(network, reservation, evidence.marks);
  if (link !== undefined) return { state: "used", reason: `link ${link} carries its mark` };
  const result = containerId === "" ? undefined : evidence.resultOf({ network, containerId, ifName });
  if (result !== undefined && !result.isNetnsGone)
    return { state: "remembered", reason: `the runtime's ${result.path}` };
  if (isMadeByHand(reservation)) {
    const reason = "made by hand: its file names no container and interface; remove the file to free the address";
    return { state: "manual", reason };
  }
  const ageMs = evidence.nowMs - reservation.modifiedMs;
  if (ageMs < evidence.graceMs) {
    return { state: "young", reason: `made ${Math.max(0, Math.round(ageMs / 1000))} s ago: its ADD may still go on` };
  }
  if (!evidence.isComplete) return { state: "unknown", reason: "not all network namespaces can be seen from here" };
  const memory =
    result === undefined
      ? "the runtime remembers no result"
      : `the runtime's ${result.path} names ${result.netns}, which is gone`;
  return { state: "leaked", reason: `no interface has it, no link its mark, ${memory}` };
}

/** A reservation of old form names no interface: any of its container keeps it. */
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
