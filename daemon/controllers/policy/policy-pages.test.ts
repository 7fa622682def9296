import { expect, expectTypeOf, test } from "vitest";
import type { JudgementPage, PagePolicy, PoliciesPage } from "../../../command/node/policies-page.ts";
import { policyObject } from "../../sources/fake-policy-source.ts";
import { bench } from "./policy-bench.ts";
import { judgementPage, offPage, type PageHead, policyOf } from "./policy-pages.ts";

test("the pages have the fields that weft's commands read", () => {
  expectTypeOf<PageHead>().toEqualTypeOf<Omit<PoliciesPage, "policies">>();
  expectTypeOf(policyOf).returns.toExtend<PagePolicy>();
  expectTypeOf(offPage).returns.toExtend<PoliciesPage>();
  expectTypeOf(judgementPage).returns.toExtend<JudgementPage | { error: string }>();
});

async function shown(at: ReturnType<typeof bench>): Promise<PoliciesPage> {
  let text = "";
  for await (const piece of at.controller.asyncPages.policies?.(new URLSearchParams()) ?? []) text += piece;
  return JSON.parse(text) as PoliciesPage;
}

function judged(at: ReturnType<typeof bench>, query: string): unknown {
  return JSON.parse([...(at.controller.pages["policy-judgement"]?.(new URLSearchParams(query)) ?? [])].join(""));
}

test("/debug/policies shows the mode, the counts, the last sync, and each policy with its packets", async () => {
  const at = bench();
  expect(await shown(at)).toMatchObject({ mode: "off", isSynced: false, policies: [] });
  await at.start();
  at.kernel.counts = [
    {
      number: [...(at.profiles().keys() ?? [])][0] ?? 0,
      ...{ denied: 4, steps: [{ policies: ["default/p"], verdict: "allow", packets: 3 }] },
    },
  ];
  at.clock.advance(1000);
  expect(await shown(at)).toMatchObject({
    ...{ mode: "enforce", modeReason: expect.stringMatching(/new/), isSynced: true, warnings: [] },
    counts: { policies: 1, clusterPolicies: 0, pods: 3, localPods: 1, isolatedPods: 1, profiles: 1 },
    lastSync: { agoMs: expect.any(Number), durationMs: 0 },
    policies: [
      {
        ...{ kind: "NetworkPolicy", policy: "default/p", tier: "NetworkPolicy", directions: ["ingress"] },
        ...{ pods: ["default/web"], isAudited: false, problems: [], allowedPackets: 3, deniedPackets: 4 },
      },
    ],
  });
});

test("/debug/policies of many policies is valid JSON", async () => {
  const at = bench();
  for (let n = 0; n < 250; n++) at.source.policies.put(policyObject(`p${n}`, "web"));
  await at.start();
  expect((await shown(at)).policies).toHaveLength(251);
});

test("/debug/policy-judgement answers by addresses, protocol and port", async () => {
  const at = bench();
  await at.start();
  const side = {
    direction: "ingress",
    pod: "default/web",
    tier: "NetworkPolicy",
    policies: ["default/p"],
    isAudited: false,
  };
  expect(judged(at, "from=10.244.2.3&to=10.244.1.2&protocol=TCP&port=80")).toEqual({
    ...{ mode: "enforce", ingress: { ...side, verdict: "allow", isByRule: true } },
    egress: {
      ...{ direction: "egress", pod: "default/good", verdict: "allow", policies: [] },
      ...{ isAudited: false, isByRule: false },
    },
  });
  expect(judged(at, "from=10.244.2.4&to=10.244.1.2&protocol=icmp")).toMatchObject({
    ...{ mode: "enforce", ingress: { ...side, verdict: "deny", isByRule: false } },
  });
  expect(judged(at, "from=192.0.2.1&to=192.0.2.2")).toEqual({ mode: "enforce" });
});

test.each([
  ["from=10.244.2.4&to=x", /to=x/],
  ["from=10.244.2.4&to=10.244.1.2&protocol=TPC", /protocol=TPC: expected TCP, UDP/],
  ["from=10.244.2.4&to=10.244.1.2&protocol=300", /protocol=300/],
  ["from=10.244.2.4&to=10.244.1.2&port=70000", /port=70000: expected a number from 0 to 65535/],
])("/debug/policy-judgement?%s names the mistake", (query, mistake) => {
  expect(judged(bench(), query)).toEqual({ error: expect.stringMatching(mistake) });
});
