/**
 * NFT_MSG_NEWRULE and NFT_MSG_DELRULE (nf_tables_newrule, nf_tables_delrule). The fake differs in one case: as the position
 * of a new rule, the kernel still finds a rule that the same transaction has deleted; the fake answers ENOENT.
 */
import { decode, type Message, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from "../../netlink/message.ts";
import { NFT_MSG_DELRULE, NFT_MSG_NEWRULE, NFT_MSG_NEWRULE_OUTLINE } from "../../netlink/nftables.ts";
import { chainByName, type Draft } from "./draft.ts";
import { readExpressions } from "./expressions.ts";
import { checkUserdata, Refusal } from "./refusal.ts";
import { type ChainState, nextHandle, type RuleState, type TableState } from "./state.ts";

export interface PlacedRule {
  readonly table: TableState;
  readonly chain: ChainState;
  readonly rule: RuleState;
}

export function newRule(draft: Draft, message: Message): PlacedRule {
  const { header, attributes } = decode(NFT_MSG_NEWRULE, message);
  const { flags } = message;
  const table = draft.table(header.family, attributes.table);
  const chain = chainByName(table, attributes.chain);
  const isReplacing = (flags & NLM_F_REPLACE) !== 0;
  let near: number | undefined;
  if (attributes.handle !== undefined) {
    near = ruleAt(chain, attributes.handle);
    if ((flags & NLM_F_EXCL) !== 0) throw new Refusal("EEXIST");
    if (!isReplacing) throw new Refusal("EOPNOTSUPP");
  } else if ((flags & NLM_F_CREATE) === 0 || isReplacing) {
    throw new Refusal("EINVAL");
  }
  const handle = attributes.handle ?? nextHandle(table);
  if (!isReplacing && attributes.position !== undefined) near = ruleAt(chain, attributes.position);
  const raw = decode(NFT_MSG_NEWRULE_OUTLINE, message).attributes.expressions ?? new Uint8Array(0);
  const userdata = checkUserdata(attributes.userdata);
  const rule = { handle, ...readExpressions(raw, table), userdata };
  const isBehind = (flags & NLM_F_APPEND) !== 0;
  if (isReplacing) chain.rules.splice(near ?? 0, 1, rule);
  else if (near !== undefined) chain.rules.splice(isBehind ? near + 1 : near, 0, rule);
  else if (isBehind) chain.rules.push(rule);
  else chain.rules.unshift(rule);
  draft.unvalidated.add(table);
  draft.isChanged = true;
  return { table, chain, rule };
}

function ruleAt({ rules }: ChainState, handle: bigint): number {
  const at = rules.findIndex((rule) => rule.handle === handle);
  if (at < 0) throw new Refusal("ENOENT");
  return at;
}

/** Deletes one rule; without a handle, all rules of the chain; without a chain, all rules of the table. */
export function deleteRules(draft: Draft, message: Message): void {
  const { header, attributes } = decode(NFT_MSG_DELRULE, message);
  const table = draft.table(header.family, attributes.table);
  if (attributes.chain !== undefined && attributes.handle !== undefined) {
    const chain = chainByName(table, attributes.chain);
    chain.rules.splice(ruleAt(chain, attributes.handle), 1);
    draft.isChanged = true;
    return;
  }
  const chains = attributes.chain === undefined ? table.chains.values() : [chainByName(table, attributes.chain)];
  for (const { rules } of chains) {
    if (rules.length > 0) draft.isChanged = true;
    rules.length = 0;
  }
}
