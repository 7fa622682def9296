/** A transaction in progress: a copy of the ruleset, and lookups in it. */

import { checkName, existing, Refusal, required } from "./refusal.ts";
import { type ChainState, copyRuleset, type RulesetState, type SetState, type TableState, tableKey } from "./state.ts";

export class Draft {
  readonly tables: RulesetState;
  /** The port of the socket that sent the transaction. */
  readonly port: number;
  /** True if the commit starts a new generation. */
  isChanged = false;
  /** The tables to validate before the commit. */
  readonly unvalidated = new Set<TableState>();
  /** Tables with changed chains. Their dormant flag must not change in the same transaction. */
  readonly rehooked = new Set<TableState>();
  /** Tables whose dormant flag changes. */
  readonly toggled = new Set<TableState>();
  readonly #numberTable: () => bigint;

  constructor(held: RulesetState, port: number, numberTable: () => bigint) {
    this.tables = copyRuleset(held);
    this.port = port;
    this.#numberTable = numberTable;
  }

  nextTableHandle(): bigint {
    return this.#numberTable();
  }

  /** Undefined if there is none. Throws `Refusal` EPERM if another socket owns the table. */
  find(family: number, name: string): TableState | undefined {
    const table = this.tables.get(tableKey(family, name));
    if (table !== undefined) assertMayChange(table, this.port);
    return table;
  }

  table(family: number, name: string | undefined): TableState {
    return existing(this.find(family, required(checkName(name))));
  }
}

export function assertMayChange(table: TableState, port: number): void {
  if (table.owner !== undefined && table.owner !== port) throw new Refusal("EPERM");
}

export function chainByName({ chains }: TableState, name: string | undefined): ChainState {
  return existing(chains.get(required(checkName(name))));
}

export function chainByHandle({ chains }: TableState, handle: bigint): ChainState {
  return existing([...chains.values()].find((chain) => chain.handle === handle));
}

export function setByName({ sets }: TableState, name: string | undefined): SetState {
  return existing(sets.get(required(checkName(name))));
}
