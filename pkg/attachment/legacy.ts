/**
 * What the Go plugins left in the kernel for an attachment that they made, taken away when it is deleted by ours. An
 * attachment whose state of ours was found is ours: nobody looks for theirs then.
 */
import type { Request as PluginRequest } from "../cni/plugin.ts";
import type { Address } from "../ip/address.ts";
import { type ForwardOptions, forgetReference, lookAtReference } from "../kernel/foreign-forward.ts";
import type { Read } from "../kernel/foreign-rules.ts";
import { type LegacyPart, type LegacySelection, legacyGarbage, legacyOf } from "../kernel/legacy-names.ts";
import { lookAtLegacy, planLegacyRemoval } from "../kernel/legacy-nftables.ts";
import { xtablesNatRemoval } from "../kernel/legacy-xtables.ts";
import type { Request } from "../netlink/message.ts";
import { changeSeen, lacksNetfilter, readGeneration, readRuleset } from "../netlink/ruleset.ts";
import type { System } from "../sys/system.ts";
import { changeXtables } from "./legacy-xtables.ts";

/** Silent when nothing is there. One question where the Go plugins have left nothing on the node. */
export function removeLegacy(request: PluginRequest, parts: readonly LegacyPart[]): void {
  if (parts.length === 0) return;
  const { network, containerId, ifName } = request;
  removeSelected(request.system, legacyOf({ network, containerId, ifName }, parts), parts);
}

/** GC: what is known to be of the network and of none of its valid attachments. */
export function removeLegacyGarbage(request: PluginRequest, parts: readonly LegacyPart[]): void {
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
