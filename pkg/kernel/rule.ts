/**
 * Policy rules that select a routing table by source address.
 */
import { type Address, addressFromBytes, addressToBytes, type Family, formatAddress } from "../ip/address.ts";
import { AF_INET, AF_INET6 } from "../netlink/link.ts";
import {
  decode,
  dumpRequest,
  type Message,
  NLM_F_CREATE,
  NLM_F_EXCL,
  type ObjectIdentity,
  type Query,
  type Request,
  request,
} from "../netlink/message.ts";
import { FR_ACT_TO_TBL, RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE } from "../netlink/rule.ts";
import { addressFamily } from "./address.ts";

/** A rule for one source address. */
export interface SourceRule {
  readonly source: Address;
  readonly table: number;
  /**
   * If omitted, the kernel chooses a priority for a new rule: one less than the lowest priority of existing rules,
   * apart from its own (0 and 32766).
   */
  readonly priority?: number | undefined;
}

/** A rule as the kernel reports it. */
export interface ObservedRule {
  /** Undefined if the rule matches every source or a range of addresses. */
  readonly source: Address | undefined;
  /** 0 if the rule does not select a table. */
  readonly table: number;
  readonly priority: number;
}

/** Parses RTM_NEWRULE. Returns `undefined` for families other than IP. */
export function parseRule(message: Message): ObservedRule | undefined {
  const { header, attributes } = decode(RTM_NEWRULE, message);
  if (header.family !== AF_INET && header.family !== AF_INET6) return undefined;
  const { source, table = header.table, priority = 0 } = attributes;
  const isHost = source !== undefined && header.sourceLength === source.length * 8;
  return {
    source: isHost ? addressFromBytes(source) : undefined,
    table: header.action === FR_ACT_TO_TBL ? table : 0,
    priority,
  };
}

export function ruleDump(family: Family): Query {
  return dumpRequest(RTM_GETRULE, `ip -${family} rule show`, { family: addressFamily(family) }, {});
}

/**
 * Identifies a rule by the fields that the kernel compares and that weft's rules state: source, table, and the priority
 * if given.
 */
function ruleObject({ source, table, priority }: SourceRule): ObjectIdentity {
  return { kind: "policy", key: `from ${formatAddress(source)} table ${table} priority ${priority ?? "any"}` };
}

/** Adds a rule. Fails with EEXIST if the same rule with the same priority exists. */
export function addRule(rule: SourceRule): Request {
  const flags = NLM_F_CREATE | NLM_F_EXCL;
  return request(RTM_NEWRULE, () => ruleObject(rule), `ip rule add ${describeRule(rule)}`, ...ruleMessage(rule), flags);
}

/** Deletes a rule. Fails with ENOENT if no rule matches everything that `rule` states. */
export function deleteRule(rule: SourceRule): Request {
  return request(RTM_DELRULE, () => ruleObject(rule), `ip rule del ${describeRule(rule)}`, ...ruleMessage(rule));
}

function ruleMessage({ source, table, priority }: SourceRule) {
  const bytes = addressToBytes(source);
  return [
    {
      family: addressFamily(source.family),
      sourceLength: bytes.length * 8,
      // A table number above 255 does not fit the header.
      table: table < 256 ? table : 0,
      action: FR_ACT_TO_TBL,
    },
    { source: bytes, priority, table },
  ] as const;
}

/** Formats a rule as `ip rule` does. */
export function describeRule({ source, table, priority }: SourceRule): string {
  const at = priority === undefined ? "" : ` priority ${priority}`;
  return `from ${formatAddress(source)}${at} table ${table}`;
}
