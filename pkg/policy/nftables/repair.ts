/**
 * Compares the kernel's table with the wanted one, and plans three phases: what nothing refers to yet is added in small
 * transactions; one transaction changes everything that packets pass; what nothing refers to any more is removed. So
 * packets pass either the rules and elements of before or those of after, and no mixture.
 */
import { addressOfKey } from "../../ip/address.ts";
import type { Look } from "../../netlink/look.ts";
import type { Request } from "../../netlink/message.ts";
import { hasSameElements, type ObservedTable, type PartDifferences, partDifferences } from "../../nft/comparison.ts";
import type { ElementForm } from "../../nft/element-bytes.ts";
import type { NftSet } from "../../nft/set.ts";
import {
  addElements,
  addRules,
  addWholeChain,
  addWholeSet,
  flushRulesOf,
  flushSet,
  removeChain,
  removeSet,
  replaceTable,
  type Table,
} from "../../nft/table.ts";
import type { PolicySettings, Transaction } from "../program.ts";
import { PolicyTables } from "../tables.ts";
import { ChangeRequests } from "./changing.ts";
import { CHANGING_SETS, emitAll, emitPeer, emitSubject, type Sink } from "./elements.ts";
import { BASE, policyTable } from "./layout.ts";
import { podsSet } from "./names.ts";
import { type ElementState, lookAtElements, lookAtPolicies } from "./observed.ts";
import { Packer } from "./packer.ts";

/** Returns the transactions that make the kernel's table equal to the wanted one. */
export function* compareTable(
  tables: PolicyTables,
  settings: PolicySettings,
  largest: number,
): Look<readonly Transaction[]> {
  const wanted = policyTable(tables, settings);
  const forms = [...CHANGING_SETS, ...[...tables.pods.keys()].map((number) => ({ name: podsSet(number) }))];
  const observed = yield* lookAtPolicies(wanted, new Set(forms.map(({ name }) => name)));
  if (observed === undefined) return created(tables, settings, new Packer(largest));
  const differences = partDifferences(wanted, observed);
  // One transaction, because packets must not pass an incomplete table.
  if (differences === undefined) return created(tables, settings, new Packer(Number.POSITIVE_INFINITY));
  const held = yield* lookAtElements(wanted, forms);
  return new Repair(wanted, observed, differences, forms, new Packer(largest)).plan(held, elementsOf(tables, forms));
}

/** Creates the table, and deletes any existing one. Subjects come last. */
function created(tables: PolicyTables, settings: PolicySettings, packer: Packer): readonly Transaction[] {
  packer.add(replaceTable(BASE));
  const parts = new ChangeRequests(new PolicyTables(), settings, packer);
  for (const [number, identities] of tables.pods) parts.carryOut({ kind: "pods", number, identities });
  for (const [number, group] of tables.blocks) parts.carryOut({ kind: "blocks", number, group });
  for (const [number, profile] of tables.profiles) parts.carryOut({ kind: "profile", number, profile });
  const add: Sink = (form, key, data) => packer.turn(form, key, undefined, data);
  for (const [key, identity] of tables.peers) {
    emitPeer(addressOfKey(key), identity, add);
    packer.mayEnd();
  }
  for (const [key, subject] of tables.subjects) {
    emitSubject(addressOfKey(key), subject, add);
    packer.mayEnd();
  }
  return packer.finish();
}

function elementsOf(tables: PolicyTables, forms: readonly ElementForm[]): ElementState {
  const state: ElementState = new Map(forms.map(({ name }) => [name, new Map()]));
  emitAll(tables, ({ name }, key, data) => state.get(name)?.set(key, data));
  return state;
}

class Repair {
  readonly #packer: Packer;
  readonly #wanted: Table;
  readonly #observed: ObservedTable;
  readonly #differences: PartDifferences;
  readonly #forms: readonly ElementForm[];

  constructor(
    wanted: Table,
    observed: ObservedTable,
    differences: PartDifferences,
    forms: readonly ElementForm[],
    packer: Packer,
  ) {
    this.#packer = packer;
    this.#wanted = wanted;
    this.#observed = observed;
    this.#differences = differences;
    this.#forms = forms;
  }

  plan(held: ElementState, elements: ElementState): readonly Transaction[] {
    this.#prepare(elements);
    this.#packer.end();
    this.#change(held, elements);
    this.#packer.end();
    this.#clean();
    return this.#packer.finish();
  }

  /** Adds missing sets, and missing chains that no hook evaluates. Elements come last, because they lead to chains. */
  #prepare(elements: ElementState): void {
    const { missingSets, missingChains } = this.#differences;
    const sets = this.#wanted.sets.filter(({ name }) => missingSets.has(name));
    for (const [at, set] of sets.entries()) this.#add(addWholeSet(this.#wanted, { ...set, elements: [] }, at + 1));
    for (const chain of this.#wanted.chains) {
      if (chain.hook === undefined && missingChains.has(chain.name)) this.#add(addWholeChain(this.#wanted, chain));
    }
    for (const set of sets) this.#packer.add(addElements(this.#wanted, set), set.elements.length);
    for (const form of this.#forms) {
      if (!missingSets.has(form.name)) continue;
      for (const [key, data] of elements.get(form.name) ?? []) {
        this.#packer.turn(form, key, undefined, data);
        this.#packer.mayEnd();
      }
    }
  }

  #add(requests: readonly Request[]): void {
    this.#packer.add(requests);
    this.#packer.mayEnd();
  }

  #change(held: ElementState, elements: ElementState): void {
    const { missingSets, missingChains, changedChains } = this.#differences;
    const changed = this.#wanted.chains.filter(({ name }) => changedChains.has(name));
    this.#packer.add(changed.map(({ name }) => flushRulesOf(this.#wanted, name)));
    for (const form of this.#forms) {
      if (!missingSets.has(form.name)) this.#turnAll(form, held, elements);
    }
    for (const set of this.#wanted.sets) if (this.#isDamaged(set)) this.#refill(set);
    for (const chain of changed) this.#packer.add(addRules(this.#wanted, chain));
    for (const chain of this.#wanted.chains) {
      if (chain.hook !== undefined && missingChains.has(chain.name)) {
        this.#packer.add(addWholeChain(this.#wanted, chain));
      }
    }
  }

  #turnAll(form: ElementForm, held: ElementState, elements: ElementState): void {
    const [before, after] = [held.get(form.name), elements.get(form.name)];
    for (const [key, data] of after ?? []) {
      const had = before?.get(key);
      before?.delete(key);
      if (had !== data) this.#packer.turn(form, key, had, data);
    }
    for (const [key, data] of before ?? []) this.#packer.turn(form, key, data, undefined);
  }

  /** True for an existing set whose elements are those of the wanted table, but differ. */
  #isDamaged(set: NftSet): boolean {
    const isChanging = this.#forms.some(({ name }) => name === set.name);
    return !isChanging && !this.#differences.missingSets.has(set.name) && !hasSameElements(set, this.#observed);
  }

  #refill(set: NftSet): void {
    this.#packer.add([flushSet(this.#wanted, set.name), ...addElements(this.#wanted, set)]);
  }

  /** Removes other chains and sets. They may refer to each other, so they are emptied first. */
  #clean(): void {
    const { otherChains, otherSets } = this.#differences;
    for (const name of otherChains) this.#add([flushRulesOf(this.#wanted, name)]);
    for (const name of otherSets) this.#add([flushSet(this.#wanted, name)]);
    for (const name of otherSets) this.#add([removeSet(this.#wanted, name)]);
    for (const name of otherChains) this.#add([removeChain(this.#wanted, name)]);
  }
}
