/**
 * Removes what the Go plugins left in the kernel for an attachment that they made and weft deletes. If weft's own state
 * was found for an attachment, then weft made it and the Go plugins' state is not searched.
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

/** Succeeds if nothing is found. Sends only one request if the Go plugins have left nothing on the node. */
export function removeLegacy(request: CniRequest, parts: readonly LegacyPart[]): void {
  if (parts.length === 0) return;
  const { network, containerId, ifName } = request;
  removeSelected(request.system, legacyOf({ network, containerId, ifName }, parts), parts);
}

/**
 * True if the kernel has the Go plugins' state for this attachment for each of `parts`: in all of `families`, or in at
 * least one family if none are given. portmap's rules in nf_tables identify only the container. CHECK uses this if
 * weft's own state is missing.
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

/** GC: removes state that belongs to the network and to none of its valid attachments. */
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

/**
 * Removes the reference firewall's rules for these addresses from nf_tables. `ours` are the addresses of pods that weft
 * attached.
 */
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
