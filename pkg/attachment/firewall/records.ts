/** The handles of a pod's rules in other programs' chains, stored in weft's own table for the pod's DEL. */
import type { Address } from "../../ip/address.ts";
import { openNetfilter } from "../../netlink/blocking.ts";
import { isNetlinkError } from "../../netlink/errors.ts";
import type { Message } from "../../netlink/message.ts";
import type { System } from "../../sys/system.ts";
import type { RuleRecord } from "../../tables/firewall.ts";
import { recordRules } from "../../tables/pod-forwarding.ts";

/**
 * Stores the handles that `echoes` report for the new rules of `addresses`. `held` are already stored. If a handle
 * cannot be stored, DEL has to read the complete chain; there is no other effect.
 */
export function keepRecords(
  system: System,
  addresses: readonly Address[],
  held: readonly RuleRecord[],
  echoes: readonly Message[],
): void {
  const requests = recordRules(addresses, held, echoes);
  if (requests.length === 0) return;
  const netfilter = openNetfilter(system);
  try {
    netfilter.commit(requests);
  } catch (error) {
    if (!isNetlinkError(error)) throw error;
  } finally {
    netfilter.close();
  }
}
