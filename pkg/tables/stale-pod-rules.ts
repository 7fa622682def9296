/** Takes out again what came back to attachments that are gone: from weft's tables, and from other programs' chains. */
import type { Address } from "../ip/address.ts";
import type { Request } from "../netlink/message.ts";
import { forgetPods, type SeenForwarding } from "./pod-forwarding.ts";
import { FORWARD_WISHES, removePodRules, type SeenPodRules } from "./pod-rules.ts";

/** The addresses of these attachments for which other programs' chains may hold rules. */
export function forwardedAddresses(seen: SeenPodRules, isStale: (owner: string) => boolean): Address[] {
  return seen.firewall.pods.filter(({ owner }) => isStale(owner)).map(({ address }) => address);
}

/**
 * One transaction, for the generation of the look alone, or nothing to send. `forwarding` is the look at
 * `forwardedAddresses`; not needed where there are none.
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
