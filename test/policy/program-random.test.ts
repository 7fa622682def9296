/**
 * Runs the nftables program on an nf_tables in memory with random tables, changes and damage. The rules are evaluated for
 * random packets by `pkg/packet-walk`; `program-packets.live.test.ts` lets the kernel do this.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Request } from "../../pkg/netlink/message.ts";
import { NF_INET_HOOK, NFPROTO, NFT_SET_ELEM_INTERVAL_END } from "../../pkg/netlink/nftables.ts";
import { RTN_UNICAST } from "../../pkg/netlink/route.ts";
import { readRuleset } from "../../pkg/netlink/ruleset.ts";
import { elementDumps, readElements } from "../../pkg/nft/comparison.ts";
import { counter, drop, goto } from "../../pkg/nft/expressions.ts";
import { chainsDump, type NftRule, readChains, readRules } from "../../pkg/nft/ruleset.ts";
import {
  addRules,
  addWholeChain,
  addWholeSet,
  flushRulesOf,
  flushSet,
  removeTable,
  replaceTable,
  type Table,
} from "../../pkg/nft/table.ts";
import { isStopped, type Ruleset, walk } from "../../pkg/packet-walk/ruleset.ts";
import { rulesQuestion } from "../../pkg/policy/nftables/counts.ts";
import { BASE, policyTable } from "../../pkg/policy/nftables/layout.ts";
import { NftablesPolicies } from "../../pkg/policy/nftables/nftables-policies.ts";
import { Kernel, SETTINGS, words } from "../../pkg/policy/nftables/policies-bench.ts";
import type { PolicyTables } from "../../pkg/policy/tables.ts";
import { runs } from "../fuzz/samples.ts";
import {
  type Probe,
  type Random,
  RandomTables,
  randomProbe,
  SMALL_WORLD,
  seeded,
  verdictFor,
} from "./random-tables.ts";

const CHANGES = 40;
const PROBES = 60;

/** The kernel's rules and elements. `table` names the sets. */
function rulesetOf(kernel: Kernel, table: Table): Ruleset {
  const seen = readRuleset(kernel.netlink, [chainsDump(NFPROTO.inet), rulesQuestion(), ...elementDumps(table)]);
  const rules = new Map<string, NftRule[]>();
  for (const rule of readRules(seen)) rules.set(rule.chain, [...(rules.get(rule.chain) ?? []), rule]);
  const elements = new Map(readElements(table, seen));
  // Without an end, which a range up to the last address lacks, the walk does not recognise a set of ranges.
  for (const set of table.sets) {
    if (set.kind !== "spans") continue;
    const zero = { key: { value: new Uint8Array(set.family === 4 ? 4 : 16) }, flags: NFT_SET_ELEM_INTERVAL_END };
    elements.set(set.name, [...(elements.get(set.name) ?? []), zero]);
  }
  return {
    bases: readChains(seen).filter(({ hook }) => hook !== undefined),
    rulesOf: ({ chain }) => rules.get(chain) ?? [],
    elementsOf: (_table, set) => elements.get(set) ?? [],
  };
}

function kernelVerdict(ruleset: Ruleset, { from, to, protocol, port }: Probe): "allow" | "deny" {
  const packet = { source: from, destination: to, protocol, destinationPort: port, destinationType: RTN_UNICAST };
  const { ending, perhaps } = walk(ruleset, NF_INET_HOOK.forward, packet);
  expect(perhaps).toEqual([]);
  return isStopped(ending) ? "deny" : "allow";
}

const probesOf = (random: Random) => Array.from({ length: PROBES }, () => randomProbe(random, SMALL_WORLD));

function expectVerdicts(kernel: Kernel, tables: PolicyTables, probes: readonly Probe[]): void {
  const ruleset = rulesetOf(kernel, policyTable(tables, SETTINGS));
  for (const probe of probes) {
    expect({ ...probe, verdict: kernelVerdict(ruleset, probe) }).toEqual({
      ...probe,
      verdict: verdictFor(tables, probe),
    });
  }
}

const randomly = (run: (random: Random) => void, count: number) =>
  fc.assert(
    fc.property(fc.integer({ min: 0 }), (seed) => run(seeded(seed))),
    { numRuns: count },
  );

test("changes make the same table as a comparison, and the table decides as the lookups in memory do", () => {
  randomly(
    (random) => {
      const state = new RandomTables(random, SMALL_WORLD);
      state.changes(CHANGES);
      const { kernel, program } = Kernel.with(state.tables);
      expectVerdicts(kernel, state.tables, probesOf(random));
      for (let batch = 0; batch < 3; batch++) {
        kernel.carryOut(program.change(state.changes(1 + random(CHANGES))));
        expect(words(kernel.compare(new NftablesPolicies(), state.tables))).toEqual([]);
      }
      expectVerdicts(kernel, state.tables, probesOf(random));
    },
    runs(40, 3000),
  );
});

test("a comparison turns any tables into any others, and no packet that both treat equally is treated differently", () => {
  randomly(
    (random) => {
      const [before, after] = [new RandomTables(random, SMALL_WORLD), new RandomTables(random, SMALL_WORLD)];
      before.changes(CHANGES);
      after.changes(CHANGES);
      const { kernel } = Kernel.with(before.tables);
      const probes = probesOf(random).filter(
        (probe) => verdictFor(before.tables, probe) === verdictFor(after.tables, probe),
      );
      const sets = [before.tables, after.tables].flatMap((tables) => policyTable(tables, SETTINGS).sets);
      const steps = kernel.compare(new NftablesPolicies(), after.tables);
      kernel.carryOut(steps, () => {
        const ruleset = rulesetOf(kernel, { ...BASE, sets });
        for (const probe of probes) expect(kernelVerdict(ruleset, probe)).toBe(verdictFor(after.tables, probe));
      });
      expect(words(kernel.compare(new NftablesPolicies(), after.tables))).toEqual([]);
      expectVerdicts(kernel, after.tables, probesOf(random));
    },
    runs(30, 2000),
  );
});

/** Requests that damage the table in one of several ways. */
function damage(tables: PolicyTables, random: Random): readonly Request[] {
  const table = policyTable(tables, SETTINGS);
  const pick = <T>(from: readonly T[]) => from[random(from.length)] as T;
  const chain = pick(table.chains);
  switch (random(7)) {
    case 0:
      return [flushSet(table, pick(table.sets).name)];
    case 1:
      return [flushRulesOf(table, chain.name)];
    case 2:
      return addRules(table, { ...chain, rules: [{ comment: "other", statements: [counter] }] });
    case 3:
      return [
        ...addWholeSet(table, { kind: "tuples", name: "other", comment: "", fields: ["classid"], elements: [] }, 1),
        ...addWholeChain(table, { name: "other", rules: [{ comment: "other", statements: [drop] }] }),
        ...addWholeChain(table, { name: "another", rules: [{ comment: "other", statements: [goto("other")] }] }),
      ];
    case 4:
      return removeTable(table);
    case 5:
      return replaceTable({ ...BASE, comment: "of another program" });
    default:
      return addWholeChain(table, { name: "empty", rules: [] });
  }
}

test("a comparison repairs damage", () => {
  randomly(
    (random) => {
      const state = new RandomTables(random, SMALL_WORLD);
      state.changes(CHANGES);
      const { kernel, program } = Kernel.with(state.tables);
      const whole = kernel.nftables.list();
      kernel.nftables.do(...damage(state.tables, random));
      const isDamaged = kernel.nftables.list().join("\n") !== whole.join("\n");
      const steps = kernel.compare(program, state.tables);
      expect(steps.length > 0).toBe(isDamaged);
      kernel.carryOut(steps);
      expect(words(kernel.compare(new NftablesPolicies(), state.tables))).toEqual([]);
      expectVerdicts(kernel, state.tables, probesOf(random));
      kernel.carryOut([...program.change(state.changes(CHANGES))]);
      expect(words(kernel.compare(new NftablesPolicies(), state.tables))).toEqual([]);
    },
    runs(60, 4000),
  );
});
