/**
 * Looks up, adds and removes single pods in the table of `firewall`, by their addresses: for pods without policies, in a
 * table that its stamp shows to be intact.
 */
import type { Address } from "../ip/address.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import type { Message, Query, Request } from "../netlink/message.ts";
import { readRuleset } from "../netlink/ruleset.ts";
import { elementDumps, readElements } from "../nft/comparison.ts";
import { wireElements } from "../nft/set.ts";
import { readStamped } from "../nft/stamp.ts";
import { addElements, deleteFromSet, elementRequest } from "../nft/table.ts";
import {
  BRIDGES,
  type FirewallPod,
  firewallTable,
  parseElements,
  podSets,
  type Removal,
  type RuleRecord,
  readRuleRecords,
  ruleRecordRequests,
} from "./firewall.ts";

/** What `lookByKey` reads. */
export interface KeyedFirewall {
  /** The pods that have the addresses. */
  readonly pods: readonly FirewallPod[];
  readonly records: readonly RuleRecord[];
  /** The answers to the caller's questions. */
  readonly answers: readonly Message[];
}

/**
 * Reads only the elements of `addresses`, and the answers to `questions` before them. Undefined if the table is not
 * intact according to its stamp, or if pods request policies: bridges depend on all pods.
 */
export function lookByKey(
  netfilter: BlockingNetlink,
  addresses: readonly Address[],
  questions: readonly Query[],
): KeyedFirewall | undefined {
  const table = firewallTable({ pods: [], policies: new Map() });
  const byKey = addresses.flatMap((address) =>
    podSets(address.family, [{ owner: "", address }])
      .slice(0, 1)
      .map((set) => elementRequest(table, set)),
  );
  const all = [...questions, ...byKey, ...ruleRecordRequests(addresses)];
  const { parts, answers } = readStamped(netfilter, table, all);
  if (parts === undefined) return undefined;
  const bridges = readRuleset(
    netfilter,
    elementDumps({ ...table, sets: table.sets.filter(({ name }) => name === BRIDGES) }),
  );
  if (readElements(table, bridges).get(BRIDGES)?.length) return undefined;
  return { pods: parseElements(readElements(table, answers)).pods, records: readRuleRecords(answers), answers };
}

/** Adds pods without policies to a table that `lookByKey` has read. EEXIST or ENOENT: the table has changed since. */
export function addKeyed(pods: readonly FirewallPod[]): Request[] {
  const table = firewallTable({ pods, policies: new Map() });
  return table.sets.flatMap((set) => addElements(table, set));
}

/** Removes pods that `lookByKey` has read; others are not known. ENOENT: the table has changed since. */
export function removeKeyed(pods: readonly FirewallPod[]): Removal {
  const table = firewallTable({ pods, policies: new Map() });
  const requests = table.sets.flatMap((set) => deleteFromSet(table, set.name, wireElements(set)));
  return { requests, pods, left: [], needsGeneration: false, sharesWithOthers: false };
}
