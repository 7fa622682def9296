/** The nftables program in a kernel: random tables and random packets. `PolicyTables.verdict` is the expectation. */
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Address, addressKey, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import type { Direction } from "../../pkg/policy/state.ts";
import type { PolicyTables } from "../../pkg/policy/tables.ts";
import { runs } from "../fuzz/samples.ts";
import { Cleanup } from "../live/harness/cleanup.ts";
import { hostOf, NODE_ADDRESSES, type NumberedProbe, ProgramBed } from "./program-bed.ts";
import { type Random, RandomTables, randomProbe, SMALL_WORLD, seeded } from "./random-tables.ts";

const cleanup = new Cleanup();
let bed: ProgramBed;
beforeAll(async () => {
  bed = await ProgramBed.make(cleanup);
});
afterAll(() => cleanup.run());

const PROBES = 500;
/** Ports of probes' destinations are smaller. */
const FIRST_NUMBER = 20_000;
const LAST_NUMBER = 60_000;
let number = FIRST_NUMBER;

/** A packet that crosses the node, or that goes from a pod to the node. */
function nextProbe(random: Random): NumberedProbe {
  for (;;) {
    const probe = randomProbe(random, SMALL_WORLD);
    const own = NODE_ADDRESSES.find(({ family }) => family === probe.from.family);
    const isLocal = (address: Address) => !["outside", "node"].includes(hostOf(address));
    const to = own !== undefined && isLocal(probe.from) && random(6) === 0 ? own : probe.to;
    if (isSameAddress(probe.from, to) || (!isLocal(probe.from) && !isLocal(to))) continue;
    number += 1;
    return { ...probe, to, number };
  }
}

/** The profiles that deny the packet, and whether it passes nevertheless. */
function expectation(tables: PolicyTables, probe: NumberedProbe): { denying: number[]; passes: boolean } {
  const { from, to, protocol, port } = probe;
  const denying: number[] = [];
  const judge = (direction: Direction, subject: Address, peer: Address) => {
    const profile = tables.subjects.get(addressKey(subject))?.[direction];
    if (profile === undefined || tables.verdict(direction, subject, peer, protocol, port) === "allow") return true;
    denying.push(profile);
    return tables.profiles.get(profile)?.isAudited === true;
  };
  const passes = judge("egress", from, to) && judge("ingress", to, from);
  return { denying, passes };
}

const text = ({ from, to, protocol, port, number }: NumberedProbe) =>
  `${number}: ${formatAddress(from)} -> ${formatAddress(to)} protocol ${protocol} port ${port}`;

async function expectPassing(tables: PolicyTables, probes: readonly NumberedProbe[]): Promise<void> {
  const wanted = probes.filter((probe) => expectation(tables, probe).passes);
  await bed.send(probes);
  // Softirqs may still process packets when the sender has ended.
  for (let attempt = 0; attempt < 50; attempt++) {
    const passed = await bed.passed();
    if (wanted.every((probe) => passed.has(probe.number))) break;
    await setTimeout(20);
  }
  const passed = await bed.passed();
  expect(probes.filter((probe) => passed.has(probe.number)).map(text)).toEqual(wanted.map(text));
}

const seeds = Array.from({ length: runs(4, 60) }, (_, at) => at + 1);

test.each(seeds)(
  "the kernel decides about random packets as the lookups in memory do, and counts them (seed %i)",
  async (seed) => {
    const random = seeded(seed);
    if (number > LAST_NUMBER) {
      number = FIRST_NUMBER;
      await bed.hosts.node.succeed("conntrack", ["-F"]);
      for (const set of ["ports", "echoes4", "echoes6"]) await bed.nft("flush", "set", "inet", "seen", set);
    }
    const state = new RandomTables(random, SMALL_WORLD);
    state.changes(80);
    await bed.compare(state.tables);
    expect(await bed.compare(state.tables)).toBe(0);
    for (let batch = 0; batch < 2; batch++) {
      const before = new Map((await bed.counts()).map((count) => [count.number, count.denied]));
      const probes = Array.from({ length: PROBES }, () => nextProbe(random));
      await expectPassing(state.tables, probes);
      const denied = (await bed.counts()).map((count) => [
        count.number,
        count.denied - (before.get(count.number) ?? 0),
      ]);
      const denying = probes.flatMap((probe) => expectation(state.tables, probe).denying);
      expect(denied).toEqual(denied.map(([profile]) => [profile, denying.filter((each) => each === profile).length]));
      await bed.change(state.changes(40));
      expect(await bed.compare(state.tables)).toBe(0);
    }
  },
);
