/**
 * The ruleset of the fake. A transaction works on a copy (`copyRuleset`) of the maps and lists; rules, elements and
 * base chains are immutable.
 */
import type { Expression, SetElement } from "../../netlink/nftables.ts";

export interface RuleState {
  readonly handle: bigint;
  readonly expressions: readonly Expression[];
  /** The payload of NFTA_RULE_EXPRESSIONS in a dump. */
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

/** A set as defined by NFT_MSG_NEWSET, with its elements. */
export interface SetState {
  readonly handle: bigint;
  readonly name: string;
  readonly flags: number;
  readonly keyType: number;
  readonly keyLength: number;
  /** Only for maps. */
  readonly dataType: number | undefined;
  readonly dataLength: number | undefined;
  readonly description: { readonly size?: number | undefined; readonly concat?: readonly Field[] | undefined };
  readonly userdata: Uint8Array | undefined;
  /** The default timeout of elements, in milliseconds. Elements never expire in the fake. */
  readonly timeout: bigint | undefined;
  /** The counter that each element gets. */
  readonly expression: Expression | undefined;
  /** The elements by `identityOf`. */
  readonly elements: Map<string, SetElement>;
  /** For an interval set: the start in the last request. All copies share it, like `TableState.handles`. */
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
  /** The port of the socket that owns the table (NFT_TABLE_F_OWNER). */
  readonly owner: number | undefined;
  readonly userdata: Uint8Array | undefined;
  readonly chains: Map<string, ChainState>;
  readonly sets: Map<string, SetState>;
  /**
   * The counter for the handles of chains, rules and sets. All copies share it: refused transactions use numbers, too.
   */
  readonly handles: { last: bigint };
}

/** Tables by `tableKey`, in the order of their creation. */
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

/** The number of expressions and elements that jump to the chain. The chain is busy while there are any. */
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

/** Yields the rules that use a set: lookups with their destination register, and statements that change the set. */
export function* lookupsOf(
  { chains }: TableState,
  set: string,
): Generator<{ readonly chain: ChainState; readonly register: number | undefined }> {
  for (const chain of chains.values())
    for (const { expressions } of chain.rules)
      for (const { kind, data } of expressions) {
        if (kind === "lookup" && data?.set === set) yield { chain, register: data.dreg };
        if (kind === "dynset" && data?.set === set) yield { chain, register: undefined };
      }
}
