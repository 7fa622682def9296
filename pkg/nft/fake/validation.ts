/**
 * The validation of a table (nft_table_validate, nft_chain_validate): follows all jumps from each base chain, and
 * checks their depth and whether each expression is allowed in the base chain.
 */
import { type Expression, NF_INET_HOOK, NFT_FIB_RESULT, NFT_NAT } from "../../netlink/nftables.ts";
import { targetOf } from "./data.ts";
import { Refusal } from "./refusal.ts";
import type { BaseState, ChainState, TableState } from "./state.ts";

/** NFT_JUMP_STACK_SIZE */
const DEEPEST = 16;

/**
 * Throws `Refusal`: EMLINK if jumps are too deep or form a loop, EOPNOTSUPP if the base chain does not allow an
 * expression.
 */
export function validateTable(table: TableState): void {
  for (const chain of table.chains.values()) if (chain.base !== undefined) validateChain(table, chain, chain.base);
}

function validateChain(table: TableState, chain: ChainState, base: BaseState, level = 0): void {
  if (level === DEEPEST) throw new Refusal("EMLINK");
  for (const { expressions } of chain.rules)
    for (const expression of expressions) {
      assertFits(expression, base);
      for (const target of targetsOf(table, expression)) validateChain(table, target, base, level + 1);
    }
}

function* targetsOf({ chains, sets }: TableState, { kind, data }: Expression): Generator<ChainState> {
  const names: (string | undefined)[] = [];
  if (kind === "immediate") names.push(targetOf(data?.data));
  if (kind === "lookup")
    for (const { data: to } of sets.get(data?.set ?? "")?.elements.values() ?? []) names.push(targetOf(to));
  for (const name of names) {
    const chain = name === undefined ? undefined : chains.get(name);
    if (chain !== undefined) yield chain;
  }
}

const { prerouting, input, forward, output, postrouting } = NF_INET_HOOK;

function assertFits({ kind, data }: Expression, base: BaseState): void {
  switch (kind) {
    case "masq":
      assertTranslates(base, [postrouting]);
      break;
    case "nat":
      assertTranslates(base, data?.type === NFT_NAT.snat ? [postrouting, input] : [prerouting, output]);
      break;
    case "fib":
      if (data?.result !== NFT_FIB_RESULT.addrtype) assertHook(base, [prerouting, input, forward]);
  }
}

function assertTranslates(base: BaseState, hooks: readonly number[]): void {
  if (base.type !== "nat") throw new Refusal("EOPNOTSUPP");
  assertHook(base, hooks);
}

function assertHook({ hook }: BaseState, hooks: readonly number[]): void {
  if (!hooks.includes(hook)) throw new Refusal("EOPNOTSUPP");
}
