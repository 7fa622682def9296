/** The handles of a pod's rules in other programs' chains, kept in our own table for its DEL. */
import type { Address } from "../../ip/address.ts";
import { openNetfilter } from "../../netlink/blocking.ts";
import { isNetlinkError } from "../../netlink/errors.ts";
import type { Message } from "../../netlink/message.ts";
import type { System } from "../../sys/system.ts";
import type { RuleRecord } from "../../tables/firewall.ts";
import { recordRules } from "../../tables/pod-forwarding.ts";

/**
 * Keeps what `echoes` tell of the new rules for `addresses`; `held` is kept already. One that fails costs the DEL a look at
 * the whole chain, and nothing else.
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
