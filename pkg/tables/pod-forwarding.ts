/**
 * The rules that accept single pods in other programs' forward chains, for many pods at once. The plugin `firewall`
 * adds them for each pod; weftd repairs them if another program removes them.
 */

import { rulesOfAddress } from "../foreign/cni-forward.ts";
import { acceptForwarded, type ForwardedPod, type ForwardOptions } from "../foreign/foreign-forward.ts";

import { type Depth, forwardingLook } from "../foreign/forward-look.ts";
import { forgetForwarded } from "../foreign/forward-removal.ts";
import { type Address, isSameAddress } from "../ip/address.ts";
import type { Look } from "../netlink/look.ts";
import type { Message, Request } from "../netlink/message.ts";
import { type NftRule, type NftRuleset, readRules } from "../nft/ruleset.ts";
import { addRuleRecords, deleteRuleRecords, type RuleRecord, readRuleRecords, ruleRecordRequests } from "./firewall.ts";

/** How an attachment is accepted in other programs' chains. */
export interface ForwardingSettings {
  readonly adminChain: string;
  /** True if firewalld accepts it, false if not. `undefined`: firewalld accepts it if firewalld runs. */
  readonly usesFirewalld: boolean | undefined;
}

export interface AcceptedPod extends ForwardedPod, ForwardingSettings {}

export interface SeenForwarding {
  readonly foreign: NftRuleset;
  /** The records of the given addresses. */
  readonly records: readonly RuleRecord[];
}

export function* podForwardingLook(
  adminChain: string,
  addresses: readonly Address[],
  depth: Depth = {},
): Look<SeenForwarding> {
  return {
    foreign: yield* forwardingLook({ adminChain }, depth),
    records: readRuleRecords(yield ruleRecordRequests(addresses)),
  };
}

/**
 * Plans the missing rules for these pods, which must have the same administrator's chain. With `makesTables` it also
 * creates iptables' filter tables if they are missing.
 */
export function acceptPods({ foreign }: SeenForwarding, pods: readonly AcceptedPod[], makesTables: boolean): Request[] {
  const hasFirewalld = foreign.tables.some(({ table }) => table === "firewalld");
  const isLetThrough = ({ usesFirewalld = hasFirewalld }: AcceptedPod) => usesFirewalld;
  const accept = (of: readonly AcceptedPod[], more: Partial<ForwardOptions>) => {
    const [first] = of;
    return first === undefined ? [] : acceptForwarded(foreign, of, { adminChain: first.adminChain, ...more });
  };
  const own = accept(
    pods.filter((pod) => !isLetThrough(pod)),
    { inFilter: "always", makesTables },
  );
  if (own.length > 0) return own;
  return accept(pods.filter(isLetThrough), { except: ({ table }) => table === "firewalld" });
}

/** The pods that lack a rule. */
export function unacceptedPods(
  seen: SeenForwarding,
  pods: readonly AcceptedPod[],
  makesTables: boolean,
): AcceptedPod[] {
  const isMissing = (of: readonly AcceptedPod[]) => acceptPods(seen, of, makesTables).length > 0;
  return isMissing(pods) ? pods.filter((pod) => isMissing([pod])) : [];
}

/** Removes the rules of the owners that `isWanted` selects; `addresses` are the addresses of their pods. */
export function forgetPods(
  { foreign, records }: SeenForwarding,
  isWanted: (owner: string) => boolean,
  addresses: readonly Address[],
  adminChain: string,
): Request[] {
  return [...deleteRuleRecords(records), ...forgetForwarded(foreign, { isWanted, addresses }, { adminChain }).requests];
}

/** The records of rules that the kernel has created, from its echoes. The DEL of `firewall` finds the rules by them. */
export function recordsOf(addresses: readonly Address[], made: readonly NftRule[]): RuleRecord[] {
  return addresses.flatMap((address): RuleRecord[] => {
    const handles = rulesOfAddress(made, address).map(({ handle }) => handle);
    return handles.length === 0 ? [] : [{ address, handles }];
  });
}

/** Makes one transaction that records the rules and replaces `held`; empty if there are none. */
export function recordRules(
  addresses: readonly Address[],
  held: readonly RuleRecord[],
  echoes: readonly Message[],
): Request[] {
  const records = recordsOf(addresses, readRules(echoes));
  if (records.length === 0) return [];
  return addRuleRecords(
    records,
    held.filter(({ address }) => records.some((one) => isSameAddress(one.address, address))),
  );
}
