/**
 * Enforces policies with nf_tables: `layout.ts` describes the table. Packets of established connections pass one rule.
 * The first packet of a connection passes a fixed number of rules and a few for each side's profile, regardless of the
 * number of pods and policies. A change costs the elements, chains and sets that it mentions.
 */
import type { Look } from "../../netlink/look.ts";
import { type NftRule, readRules } from "../../nft/ruleset.ts";
import { removeTable } from "../../nft/table.ts";
import type { PolicyProgram, PolicySettings, ProfileCounts, Transaction } from "../program.ts";
import type { PolicyChange } from "../state.ts";
import { PolicyTables } from "../tables.ts";
import { ChangeRequests } from "./changing.ts";
import { readCounts, rulesQuestion } from "./counts.ts";
import { BASE } from "./layout.ts";
import { LARGEST_TRANSACTION, Packer } from "./packer.ts";
import { compareTable } from "./repair.ts";
import { copyOf } from "./table-copy.ts";

export class NftablesPolicies implements PolicyProgram {
  /** The desired state after the last `compare` or `change`. */
  #tables = new PolicyTables();
  #settings: PolicySettings = { isAudit: false, hasLog: false };
  readonly #largest: number;

  /** `largest` is about the maximum number of elements and objects in a transaction, if it can be split. */
  constructor(largest = LARGEST_TRANSACTION) {
    this.#largest = largest;
  }

  *compare(tables: PolicyTables, settings: PolicySettings): Look<readonly Transaction[]> {
    this.#tables = copyOf(tables);
    this.#settings = settings;
    return yield* compareTable(this.#tables, settings, this.#largest);
  }

  change(changes: readonly PolicyChange[]): readonly Transaction[] {
    const packer = new Packer(this.#largest);
    const changing = new ChangeRequests(this.#tables, this.#settings, packer);
    for (const change of changes) changing.carryOut(change);
    return packer.finish();
  }

  *counts(): Look<readonly ProfileCounts[]> {
    const profiles = [...this.#tables.profiles].map(([number, profile]) => ({ number, profile }));
    const rules = new Map<string, NftRule[]>();
    for (const rule of readRules(yield [rulesQuestion()])) {
      const chain = rules.get(rule.chain);
      if (chain === undefined) rules.set(rule.chain, [rule]);
      else chain.push(rule);
    }
    return profiles.map((profile) => readCounts(profile, rules));
  }

  removal(): Transaction {
    this.#tables = new PolicyTables();
    return removeTable(BASE);
  }
}
