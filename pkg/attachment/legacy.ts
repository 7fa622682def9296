/**
 * What the Go plugins left in the kernel for an attachment that they made, taken away when it is deleted by ours.
 */
import type { Address } from "../ip/address.ts";
import { type ForwardOptions, forgetReference, lookAtReference } from "../kernel/foreign-forward.ts";
import type { Read } from "../kernel/foreign-rules.ts";
import { type LegacyPart, type LegacySelection, legacyGarbage, legacyOf } from "../kernel/legacy-names.ts";
import { lookAtLegacy, planLegacyRemoval } from "../kernel/legacy-nftables.ts";
import type { Attachment } from "../kernel/owner.ts";
import type { Message, Request } from "../netlink/message.ts";
import { changeSeen, lacksNetfilter, readGeneration, readRuleset } from "../netlink/ruleset.ts";
import type { System } from "../sys/system.ts";

/** Silent when nothing is there. One question where the Go plugins have left nothing on the node. */
export function removeLegacy(system: System, attachment: Attachment, parts: readonly LegacyPart[]): void {
  removeSelected(system, legacyOf(attachment, parts), parts);
}

/** GC: what is known to be of `network` and of none of its valid attachments. */
export function removeLegacyGarbage(
  system: System,
  network: string,
  valid: readonly Omit<Attachment, "network">[],
  parts: readonly LegacyPart[],
): void {
  const attachments = valid.map((attachment) => ({ ...attachment, network }));
  removeSelected(system, legacyGarbage(network, attachments, parts), parts);
}

function removeSelected(system: System, selection: LegacySelection, parts: readonly LegacyPart[]): void {
  change(
    system,
    (read) => lookAtLegacy(read, selection, parts),
    (seen) => planLegacyRemoval(seen, selection),
  );
}

/** The reference firewall's rules for these addresses. */
export function removeLegacyFirewall(system: System, addresses: readonly Address[], options: ForwardOptions): void {
  if (addresses.length === 0) return;
  change(
    system,
    (read) => lookAtReference(read, options),
    (seen) => forgetReference(seen, addresses, options),
  );
}

function change(
  system: System,
  look: (read: Read) => readonly Message[],
  plan: (seen: readonly Message[]) => { readonly requests: readonly Request[]; readonly needsGeneration: boolean },
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
