/**
 * What the fake kernel holds. A transaction works on a copy of it (`copyRuleset`): the maps and lists are copied, rules,
 * elements and base chains are never changed in place.
 */
import type { Expression, SetElement } from "../../netlink/nftables.ts";

export interface RuleState {
  readonly handle: bigint;
  readonly expressions: readonly Expression[];
  /** The same as a dump has them: the payload of NFTA_RULE_EXPRESSIONS. */
  readonly encoded: Uint8Array;
  readonly userdata: Uint8Array | undefined;
}

export interface BaseState {
  readonly type: string;
  readonly hook: number;
  /** Signed. */
  readonly priority: number;
  readonly device: string | undefined;
  readonly policy: number;
}

export interface ChainState {
  readonly handle: bigint;
  name: string;
  base: BaseState | undefined;
  readonly userdata: Uint8Array | undefined;
  readonly rules: RuleState[];
}

/** What NFT_MSG_NEWSET said of a set. */
export interface SetState {
  readonly handle: bigint;
  readonly name: string;
  readonly flags: number;
  readonly keyType: number;
  readonly keyLength: number;
  /** Of a map. */
  readonly dataType: number | undefined;
  readonly dataLength: number | undefined;
  readonly description: { readonly size?: number | undefined; readonly concat?: readonly Field[] | undefined };
  readonly userdata: Uint8Array | undefined;
  /** By what tells an element from others of its kind of set (`identityOf`). */
  readonly elements: Map<string, SetElement>;
  /** Of a set of ranges: the start that was named last. It is one for all copies, as `TableState.handles`. */
  readonly named: { start: SetElement | undefined };
}

interface Field {
  readonly length?: number | undefined;
}

export interface TableState {
  readonly family: number;
  readonly name: string;
  readonly handle: bigint;
  flags: number;
  /** The port of the socket that keeps others out. */
  readonly owner: number | undefined;
  readonly userdata: Uint8Array | undefined;
  readonly chains: Map<string, ChainState>;
  readonly sets: Map<string, SetState>;
  /** Numbers chains, rules and sets. It is one for all copies: a refused transaction uses numbers up, too. */
  readonly handles: { last: bigint };
}

/** Tables by `tableKey`, in the order in which they were made. */
export type RulesetState = Map<string, TableState>;

export function tableKey(family: number, name: string): string {
  return `${family} ${name}`;
}

export function nextHandle({ handles }: TableState): bigint {
  handles.last += 1n;
  return handles.last;
}

export function copyRuleset(tables: RulesetState): RulesetState {
  return new Map([...tables].map(([key, table]) => [key, copyTable(table)]));
}

function copyTable(table: TableState): TableState {
  const chains = new Map<string, ChainState>();
  for (const [name, chain] of table.chains) chains.set(name, { ...chain, rules: [...chain.rules] });
  const sets = new Map<string, SetState>();
  for (const [name, set] of table.sets) sets.set(name, { ...set, elements: new Map(set.elements) });
  return { ...table, chains, sets };
}

/** How many expressions and elements jump or go to the chain: what keeps it from being removed. */
export function referencesTo({ chains, sets }: TableState, chain: string): number {
  let count = 0;
  for (const { rules } of chains.values())
    for (const { expressions } of rules) for (const expression of expressions) if (leadsTo(expression, chain)) count++;
  for (const { elements } of sets.values())
    for (const { data } of elements.values()) if (data?.verdict?.chain === chain) count++;
  return count;
}

function leadsTo(expression: Expression, chain: string): boolean {
  return expression.kind === "immediate" && expression.data?.data?.verdict?.chain === chain;
}

/** NFTA_CHAIN_USE */
export function chainUse(table: TableState, { name, rules }: ChainState): number {
  return rules.length + referencesTo(table, name);
}

/** Each look-up of a set, with the chain whose rule does it. */
export function* lookupsOf(
  { chains }: TableState,
  set: string,
): Generator<{ readonly chain: ChainState; readonly register: number | undefined }> {
  for (const chain of chains.values())
    for (const { expressions } of chain.rules)
      for (const { kind, data } of expressions) {
        if (kind === "lookup" && data?.set === set) yield { chain, register: data.dreg };
      }
}
