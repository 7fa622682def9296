/** Tests that the rules of policies, as openRules reads them, decide about packets as the tables in memory do. */
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../pkg/ip/address.ts";
import { NF_INET_HOOK } from "../../pkg/netlink/nftables.ts";
import { RTN_UNICAST } from "../../pkg/netlink/route.ts";
import { isStopped, walk } from "../../pkg/packet-walk/ruleset.ts";
import { Kernel } from "../../pkg/policy/nftables/policies-bench.ts";
import { PolicyTables } from "../../pkg/policy/tables.ts";
import {
  type Probe,
  RandomTables,
  randomProbe,
  SMALL_WORLD,
  seeded,
  verdictFor,
} from "../../test/policy/random-tables.ts";
import { openRules } from "./rules.ts";

function verdictOf(kernel: Kernel, { from, to, protocol, port }: Probe) {
  const packet = { source: from, destination: to, protocol, destinationPort: port, destinationType: RTN_UNICAST };
  const { ending, perhaps } = walk(openRules(kernel.netlink), NF_INET_HOOK.forward, packet);
  // Nothing in weftd's rules is unknown to the walk.
  expect(perhaps).toEqual([]);
  return isStopped(ending) ? "deny" : "allow";
}

function expectSame(tables: PolicyTables, probes: readonly Probe[]): void {
  const { kernel } = Kernel.with(tables);
  for (const probe of probes) expect([probe, verdictOf(kernel, probe)]).toEqual([probe, verdictFor(tables, probe)]);
}

describe.each([1, 2, 3, 4, 5, 6])("random tables, seed %i", (seed) => {
  test("decide as in memory", () => {
    const random = seeded(seed);
    const state = new RandomTables(random, SMALL_WORLD);
    state.changes(60);
    expectSame(
      state.tables,
      Array.from({ length: 40 }, () => randomProbe(random, SMALL_WORLD)),
    );
  });
});

test("a range up to the last address contains all addresses", () => {
  const tables = new PolicyTables();
  const everything = { 4: [{ first: 0n, last: 0xffff_ffffn }], 6: [{ first: 1n << 120n, last: (1n << 128n) - 1n }] };
  tables.apply({ kind: "blocks", number: 7, group: everything });
  const step = { peers: { pods: undefined, blocks: 7 }, verdict: "allow", policies: ["a/b"] } as const;
  const others = [{ name: "NetworkPolicy", steps: [step], otherwise: "deny" }] as const;
  const profile = { direction: "egress", isAudited: false, policies: ["a/b"], ports: [], others } as const;
  tables.apply({ kind: "profile", number: 8, profile });
  for (const text of ["10.244.1.2", "fd00:1::2"])
    tables.apply({
      ...{ kind: "subject", address: parseAddress(text) },
      subject: { ingress: undefined, egress: 8 },
    });
  const probe = (from: string, to: string) => ({
    ...{ from: parseAddress(from), to: parseAddress(to), protocol: 6, port: 80 },
  });
  expectSame(tables, [
    ...[probe("10.244.1.2", "203.0.113.9"), probe("fd00:1::2", "2001:db8::9"), probe("fd00:1::2", "::1")],
  ]);
});
