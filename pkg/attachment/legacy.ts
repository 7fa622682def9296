/**
 * What the Go plugins left in the kernel for an attachment that they made, taken away when it is deleted by ours. An
 * attachment whose state of ours was found is ours: nobody looks for theirs then.
 */

import type { CniRequest } from "../cni/plugin.ts";
import type { ForwardOptions } from "../foreign/foreign-forward.ts";
import { lookAtReference } from "../foreign/forward-look.ts";
import { forgetReference } from "../foreign/forward-removal.ts";
import { type LegacyPart, type LegacySelection, legacyGarbage, legacyOf } from "../foreign/legacy-names.ts";
import { isLegacyThere, lookAtLegacy, planLegacyRemoval } from "../foreign/legacy-nftables.ts";
import { isInXtablesNat, xtablesNatRemoval } from "../foreign/legacy-xtables.ts";
import type { Address, Family } from "../ip/address.ts";
import { openNetfilter } from "../netlink/blocking.ts";
import type { Read } from "../netlink/look.ts";
import type { Message, Request } from "../netlink/message.ts";
import { NFPROTO } from "../netlink/nftables.ts";
import { changeSeen, lacksNetfilter, readGeneration, readRuleset } from "../netlink/ruleset.ts";
import type { System } from "../sys/system.ts";
import { changeXtables, readXtables } from "./legacy-xtables.ts";

/** Silent when nothing is there. One question where the Go plugins have left nothing on the node. */
export function removeLegacy(request: CniRequest, parts: readonly LegacyPart[]): void {
  if (parts.length === 0) return;
  const { network, containerId, ifName } = request;
  removeSelected(request.system, legacyOf({ network, containerId, ifName }, parts), parts);
}

/**
 * True when the kernel holds what the Go plugins made for this attachment, of each of `parts`: in every one of `families`,
 * or in any where none is given. A rule of portmap's in nf_tables names no more than the container. For CHECK, where
 * nothing of ours is there.
 */
export function holdsLegacy(request: CniRequest, parts: readonly LegacyPart[], families?: readonly Family[]): boolean {
  return parts.every((part) => {
    const isThere = lookFor(request, part);
    return families === undefined ? isThere(4) || isThere(6) : families.every(isThere);
  });
}

function lookFor({ network, containerId, ifName, system }: CniRequest, part: LegacyPart) {
  const selection = legacyOf({ network, containerId, ifName }, [part]);
  const seen = look(system, (read) => lookAtLegacy(read, selection, [part]));
  return (family: Family): boolean =>
    isLegacyThere(seen, selection, part, family === 4 ? NFPROTO.ip : NFPROTO.ip6) ||
    (part !== "spoof-check" && isInXtablesNat(readXtables(system, "nat", family), selection));
}

/** GC: what is known to be of the network and of none of its valid attachments. */
export function removeLegacyGarbage(request: CniRequest, parts: readonly LegacyPart[]): void {
  const { network } = request;
  const valid = request.validAttachments.map((attachment) => ({ ...attachment, network }));
  removeSelected(request.system, legacyGarbage(network, valid, parts), parts);
}

function removeSelected(system: System, selection: LegacySelection, parts: readonly LegacyPart[]): void {
  change(
    system,
    (read) => lookAtLegacy(read, selection, parts),
    (seen) => planLegacyRemoval(seen, selection),
  );
  if (!parts.includes("masquerade") && !parts.includes("portmap")) return;
  const chains = () => selection.natChains?.join(", ") ?? "chains of the network's former attachments";
  changeXtables(system, "nat", chains, (saved) => xtablesNatRemoval(saved, selection));
}

/** The reference firewall's rules for these addresses in nf_tables; `ours` are those of pods that weft attached. */
export function removeLegacyFirewall(
  system: System,
  addresses: readonly Address[],
  ours: readonly Address[],
  options: ForwardOptions,
): void {
  if (addresses.length === 0) return;
  change(
    system,
    (read) => lookAtReference(read, options),
    (seen) => forgetReference(seen, addresses, ours, options),
  );
}

function look(system: System, questions: (read: Read) => Message[]): Message[] {
  const netfilter = openNetfilter(system);
  try {
    return questions((asked) => readRuleset(netfilter, asked));
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
    return [];
  } finally {
    netfilter.close();
  }
}

function change<Seen>(
  system: System,
  look: (read: Read) => Seen,
  plan: (seen: Seen) => { readonly requests: readonly Request[]; readonly needsGeneration: boolean },
): void {
  try {
    changeSeen(
      system,
      (netfilter) => {
        const generation = readGeneration(netfilter);
        return { generation, seen: look((questions) => readRuleset(netfilter, questions)) };
      },
      ({ generation, seen }) => {
        const { requests, needsGeneration } = plan(seen);
        return { requests, generation: needsGeneration ? generation : undefined };
      },
    );
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
  }
}
