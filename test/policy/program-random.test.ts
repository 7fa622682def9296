/**
 * Runs the nftables program on an nf_tables in memory with random tables, changes and damage. The rules are evaluated for
 * random packets by `pkg/packet-walk`; `program-packets.live.test.ts` lets the kernel do this.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseAddress } from "../../pkg/ip/address.ts";
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
import { LARGEST_TRANSACTION } from "../../pkg/policy/nftables/packer.ts";
import { Kernel, SETTINGS, words } from "../../pkg/policy/nftables/policies-bench.ts";
import { PolicyMap } from "../../pkg/policy/policy-map.ts";
import { PolicyTables } from "../../pkg/policy/tables.ts";
import { runs } from "../fuzz/samples.ts";
import { Cluster, NODE, step } from "./random-cluster.ts";
import {
  type Probe,
  type Random,
  RandomTables,
  randomProbe,
  SMALL_WORLD,
  seeded,
  verdictFor,
  type World,
} from "./random-tables.ts";

/** Some programs split their changes into transactions of a few elements. */
const SIZES = [1, 7, LARGEST_TRANSACTION] as const;
const sizeOf = (random: Random) => SIZES[random(SIZES.length)];

const CHANGES = 40;
const PROBES = 60;

/** The kernel's rules and elements. `table` names the sets. */
function rulesetOf(kernel: Kernel, table: Table): Ruleset {
  const seen = readRuleset(kernel.netlink, [chainsDump(NFPROTO.inet), rulesQuestion(), ...elementDumps(table)]);
  const rules = new Map<string, NftRule[]>();
  for (const rule of readRules(seen)) {
    const known = rules.get(rule.chain);
    if (known === undefined) rules.set(rule.chain, [rule]);
    else known.push(rule);
  }
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
      const { kernel, program } = Kernel.with(state.tables, sizeOf(random));
      expectVerdicts(kernel, state.tables, probesOf(random));
      for (let batch = 0; batch < 3; batch++) {
        kernel.carryOut(program.change(state.changes(1 + random(CHANGES))));
        expect(words(kernel.compare(new NftablesPolicies(), state.tables))).toEqual([]);
      }
      expectVerdicts(kernel, state.tables, probesOf(random));
    },
    runs(10, 3000),
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
      const steps = kernel.compare(new NftablesPolicies(sizeOf(random)), after.tables);
      kernel.carryOut(steps, () => {
        const ruleset = rulesetOf(kernel, { ...BASE, sets });
        for (const probe of probes) expect(kernelVerdict(ruleset, probe)).toBe(verdictFor(after.tables, probe));
      });
      expect(words(kernel.compare(new NftablesPolicies(), after.tables))).toEqual([]);
      expectVerdicts(kernel, after.tables, probesOf(random));
    },
    runs(6, 2000),
  );
});

/** The addresses of pods in random clusters, and of others. */
const CLUSTER_WORLD: World = {
  local: [1, 2, 3, 4, 5, 6, 7].flatMap((n) => [parseAddress(`10.0.0.${n}`), parseAddress(`fd00::${n}`)]),
  others: ["192.0.2.1", "192.0.2.200", "2001:db8::1"].map(parseAddress),
  bounds: [],
};

test("the changes of the compiler make the table of a restarted weftd, which decides as the compiler's tables do", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 30, size: "max" }), fc.integer({ min: 0 }), (steps, seed) => {
      const random = seeded(seed);
      const [cluster, map, tables] = [new Cluster(), new PolicyMap(NODE), new PolicyTables()];
      const { kernel, program } = Kernel.with(tables, sizeOf(random));
      for (const each of steps) {
        cluster.change(each);
        cluster.tell(map, each);
        if (random(3) === 0) continue;
        const changes = map.changes();
        for (const change of changes) tables.apply(change);
        kernel.carryOut(program.change(changes));
      }
      expect(words(kernel.compare(new NftablesPolicies(), tables))).toEqual([]);
      const probes = Array.from({ length: PROBES }, () => randomProbe(random, CLUSTER_WORLD));
      expectVerdicts(kernel, tables, probes);
      const restarted = new PolicyTables();
      const again = new PolicyMap(NODE);
      cluster.tellAll(again, (key) => (key.length * 7919 + seed) % 31);
      for (const change of again.changes()) restarted.apply(change);
      for (const change of map.changes()) tables.apply(change);
      kernel.carryOut(kernel.compare(program, tables));
      expect(words(kernel.compare(new NftablesPolicies(), restarted))).toEqual([]);
    }),
    { numRuns: runs(30, 2000) },
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
      const { kernel, program } = Kernel.with(state.tables, sizeOf(random));
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
    runs(15, 4000),
  );
});
