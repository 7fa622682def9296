/** Removes the rules of attachments that are gone: from weft's tables, and from other programs' chains. */
import type { Address } from "../ip/address.ts";
import type { Request } from "../netlink/message.ts";
import { forgetPods, type SeenForwarding } from "./pod-forwarding.ts";
import { FORWARD_WISHES, removePodRules, type SeenPodRules } from "./pod-rules.ts";

/** The addresses of these attachments that other programs' chains may have rules for. */
export function forwardedAddresses(seen: SeenPodRules, isStale: (owner: string) => boolean): Address[] {
  return seen.firewall.pods.filter(({ owner }) => isStale(owner)).map(({ address }) => address);
}

/**
 * Makes one transaction, valid only for the generation of the read; empty if there is nothing to remove. `forwarding`
 * is the read of `forwardedAddresses`; it is not needed if there are none.
 */
export function removeStaleRules(
  seen: SeenPodRules,
  isStale: (owner: string) => boolean,
  forwarding: SeenForwarding | undefined,
): Request[] {
  const removal = removePodRules(seen, isStale);
  if (removal.length === 0 || forwarding === undefined) return removal;
  const { adminChain } = FORWARD_WISHES;
  return [...removal, ...forgetPods(forwarding, isStale, forwardedAddresses(seen, isStale), adminChain)];
}
