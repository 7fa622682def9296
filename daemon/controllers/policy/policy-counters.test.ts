import { describe, expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import type { ProfileCounts } from "../../../pkg/policy/program.ts";
import type { Profile } from "../../../pkg/policy/state.ts";
import { policyObject } from "../../sources/fake-policy-source.ts";
import { bench } from "./policy-bench.ts";
import { PolicyCounters } from "./policy-counters.ts";
import { NAMED_POLICIES } from "./policy-metrics.ts";

const PROFILE: Profile = {
  ...{ direction: "ingress", isAudited: false, policies: ["default/a", "default/b", "first"], ports: [], others: [] },
};
const profile = (denied: number, allowed = 0, byRule = 0): ProfileCounts => ({
  ...{ number: 7, denied },
  steps: [
    { policies: ["first"], verdict: "deny", packets: byRule },
    { policies: ["first"], verdict: "pass", packets: 99 },
    { policies: ["default/a"], verdict: "allow", packets: allowed },
  ],
});

function counters() {
  const clock = new ManualClock();
  const kernel = { counts: [] as readonly ProfileCounts[], reads: 0 };
  const subject = new PolicyCounters({
    clock,
    tables: { profiles: new Map([[7, PROFILE]]) },
    read: async () => {
      kernel.reads++;
      return kernel.counts;
    },
  });
  const read = async (...counts: readonly ProfileCounts[]) => {
    kernel.counts = counts;
    clock.advance(1000);
    await subject.refresh();
  };
  return { subject, kernel, read };
}

describe("packets of policies", () => {
  test("belong to the rule that decided, or to all NetworkPolicies of the profile if no rule did", async () => {
    const { subject, read } = counters();
    await read(profile(5, 3, 2));
    expect(subject.of("default/a")).toEqual({ allowed: 3, denied: 3 });
    expect(subject.of("default/b")).toEqual({ allowed: 0, denied: 3 });
    expect(subject.of("first")).toEqual({ allowed: 0, denied: 2 });
  });

  test("grow with the kernel's counters, also after these have begun again", async () => {
    const { subject, read } = counters();
    await read(profile(5, 3));
    await read(profile(6, 4));
    expect(subject.of("default/a")).toEqual({ allowed: 4, denied: 6 });
    await read(profile(1, 0));
    expect(subject.of("default/a")).toEqual({ allowed: 4, denied: 7 });
    await read();
    await read(profile(2, 2));
    expect(subject.of("default/a")).toEqual({ allowed: 6, denied: 9 });
  });

  test("are read once for readers at the same time", async () => {
    const { subject, kernel, read } = counters();
    await read(profile(1));
    await subject.refresh();
    expect(kernel.reads).toBe(1);
  });

  test("of removed policies are forgotten", async () => {
    const { subject, read } = counters();
    await read(profile(1, 1));
    subject.retain((name) => name !== "default/a");
    expect([subject.names(), subject.of("default/a")]).toEqual([["default/b"], { allowed: 0, denied: 0 }]);
  });
});

test("metrics have series for a limited number of policies; the others count together", async () => {
  const at = bench();
  const many = NAMED_POLICIES + 20;
  await at.start();
  for (let n = 0; n < many; n++) at.source.policies.put(policyObject(`p${n}`, "web"));
  await at.settle();
  at.kernel.counts = [
    {
      ...{ number: 1, denied: 0 },
      steps: Array.from({ length: many }, (_, n) => ({ policies: [`default/p${n}`], verdict: "allow", packets: 1 })),
    },
  ];
  const series = async () =>
    (await at.metrics.text()).match(/^weft_policy_packets_total\{.*verdict="allow"\} .*/gm) ?? [];
  const text = await series();
  expect(text).toHaveLength(NAMED_POLICIES + 1);
  expect(text).toContain('weft_policy_packets_total{policy="other",verdict="allow"} 20');
  at.source.policies.remove(...Array.from({ length: many - 1 }, (_, n) => `default/p${n + 1}`));
  await at.settle();
  expect(await series()).toEqual(['weft_policy_packets_total{policy="default/p0",verdict="allow"} 1']);
});
