/**
 * Rules of policy routing: RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE (include/uapi/linux/fib_rules.h).
 */
import { attribute, attributes, bytes, struct, u8, u32, type ValueOf } from "./codec.ts";
import type { MessageType } from "./message.ts";

/** Look up the packet in the rule's table. */
export const FR_ACT_TO_TBL = 1;

/** struct fib_rule_hdr */
const ruleHeader = struct({
  family: u8,
  destinationLength: u8,
  sourceLength: u8,
  tos: u8,
  /** Table numbers below 256; the attribute `table` below has the full number. */
  table: u8,
  reserved1: u8,
  reserved2: u8,
  action: u8,
  flags: u32,
});

const ruleAttributes = attributes(
  {
    source: attribute(2, "FRA_SRC", bytes),
    priority: attribute(6, "FRA_PRIORITY", u32),
    table: attribute(15, "FRA_TABLE", u32),
  },
  { dropUnknown: true },
);

type RuleMessage = MessageType<ValueOf<typeof ruleHeader>, ValueOf<typeof ruleAttributes>>;

export const RTM_NEWRULE: RuleMessage = {
  identifier: "RTM_NEWRULE",
  type: 32,
  header: ruleHeader,
  attributes: ruleAttributes,
};
export const RTM_DELRULE: RuleMessage = {
  identifier: "RTM_DELRULE",
  type: 33,
  header: ruleHeader,
  attributes: ruleAttributes,
};
export const RTM_GETRULE: RuleMessage = {
  identifier: "RTM_GETRULE",
  type: 34,
  header: ruleHeader,
  attributes: ruleAttributes,
};
