/**
 * Rules that send a source's packets to a routing table of its own.
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

/** A rule for one address. */
export interface SourceRule {
  readonly source: Address;
  readonly table: number;
  /** Left out of a new one: the kernel takes the one before the lowest of others' (0 and 32766 are its own). */
  readonly priority?: number | undefined;
}

/** A rule read back. */
export interface ObservedRule {
  /** Undefined where it matches every source, or more than one address. */
  readonly source: Address | undefined;
  /** 0 where it leads to no table. */
  readonly table: number;
  readonly priority: number;
}

/** Reads RTM_NEWRULE; `undefined` for families that are not IP. */
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

/** By what the kernel compares rules by, as far as ours say it: source, table, and the priority where it is stated. */
function ruleObject({ source, table, priority }: SourceRule): ObjectIdentity {
  return { kind: "policy", key: `from ${formatAddress(source)} table ${table} priority ${priority ?? "any"}` };
}

/** EEXIST when the same rule with the same priority is there. */
export function addRule(rule: SourceRule): Request {
  const flags = NLM_F_CREATE | NLM_F_EXCL;
  return request(RTM_NEWRULE, () => ruleObject(rule), `ip rule add ${describeRule(rule)}`, ...ruleMessage(rule), flags);
}

/** ENOENT when no rule matches all that `rule` states. */
export function deleteRule(rule: SourceRule): Request {
  return request(RTM_DELRULE, () => ruleObject(rule), `ip rule del ${describeRule(rule)}`, ...ruleMessage(rule));
}

function ruleMessage({ source, table, priority }: SourceRule) {
  const bytes = addressToBytes(source);
  return [
    {
      family: addressFamily(source.family),
      sourceLength: bytes.length * 8,
      // Tables above 255 do not fit the header.
      table: table < 256 ? table : 0,
      action: FR_ACT_TO_TBL,
    },
    { source: bytes, priority, table },
  ] as const;
}

/** As `ip rule` writes it. */
export function describeRule({ source, table, priority }: SourceRule): string {
  const at = priority === undefined ? "" : ` priority ${priority}`;
  return `from ${formatAddress(source)}${at} table ${table}`;
}
