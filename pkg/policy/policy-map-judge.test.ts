import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { ALL, API, bedWith, FAR, TCP, WEB } from "./map-bed.ts";

describe("judge", () => {
  const question = (from: string, to: string) => ({
    from: parseAddress(from),
    to: parseAddress(to),
    protocol: TCP,
    port: 80,
  });

  test("names exactly the policies that decide, for pods of any node", () => {
    const bed = bedWith({ podSelector: ALL, ingress: [{ from: [{ podSelector: { matchLabels: { app: "web" } } }] }] });
    bed.policy("x/q", { podSelector: ALL, ingress: [{ ports: [{ port: 81 }] }] });
    expect(bed.map.judge(question(WEB, API))).toEqual({
      egress: {
        direction: "egress",
        pod: "x/web",
        isAudited: false,
        verdict: "allow",
        tier: undefined,
        policies: [],
        isByRule: false,
      },
      ingress: {
        direction: "ingress",
        pod: "x/api",
        isAudited: false,
        verdict: "allow",
        tier: "NetworkPolicy",
        policies: ["x/p"],
        isByRule: true,
      },
    });
    expect(bed.map.judge(question(FAR, API))).toMatchObject({
      egress: undefined,
      ingress: { verdict: "deny", policies: ["x/p", "x/q"], isByRule: false },
    });
  });

  test("a pod does not block itself", () => {
    const bed = bedWith({ podSelector: ALL, policyTypes: ["Ingress", "Egress"] });
    expect(bed.map.judge(question(WEB, WEB))).toMatchObject({
      egress: { verdict: "allow" },
      ingress: { verdict: "allow" },
    });
  });
});

describe("lists", () => {
  test("policies are in the order of evaluation, with the pods of this node", () => {
    const bed = bedWith({ podSelector: { matchLabels: { app: "web" } } });
    bed.policy("x/other", { podSelector: { matchLabels: { app: "api" } } });
    const cluster = (tier: string, priority: number) => ({
      ...{ tier, priority, subject: { namespaces: ALL } },
      ingress: [{ action: "Accept", from: [{ namespaces: ALL }] }],
      egress: [{ action: "Deny", to: [{ namespaces: ALL }] }],
    });
    bed.clusterPolicy("b", cluster("Baseline", 1));
    bed.clusterPolicy("a", cluster("Admin", 2));
    bed.clusterPolicy("z", cluster("Admin", 1));
    expect(
      bed.map.policies().map(({ name, tier, priority, directions, pods }) => [name, tier, priority, directions, pods]),
    ).toEqual([
      ["z", "Admin", 1, ["ingress", "egress"], ["x/web"]],
      ["a", "Admin", 2, ["ingress", "egress"], ["x/web"]],
      ["x/p", "NetworkPolicy", undefined, ["ingress"], ["x/web"]],
      ["b", "Baseline", 1, ["ingress", "egress"], ["x/web"]],
    ]);
    expect(bed.map.policiesOf("x/web", "ingress")).toEqual(["a", "x/p", "z"]);
    expect(bed.map.policiesOf("x/web", "egress")).toEqual(["a", "b", "z"]);
    expect([bed.map.podsOf("x/p"), bed.map.podsOf("x/other")]).toEqual([["x/web"], []]);
    expect(bed.map.counts()).toMatchObject({
      policies: 2,
      clusterPolicies: 3,
      pods: 2,
      localPods: 1,
      isolatedPods: 1,
      profiles: 2,
    });
  });
});
