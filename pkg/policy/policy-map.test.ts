import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { ALL, API, type Bed, bedWith, FAR, TCP, WEB } from "./policy-test-bed.ts";

describe("a reused address", () => {
  const isolated = { podSelector: { matchLabels: { app: "web" } } };

  test("stays with the new pod if the old pod ends later", () => {
    const bed = bedWith(isolated);
    bed.pod("x/new", { ips: [WEB], labels: { app: "other" } });
    expect(bed.ingress(API, WEB)).toBe("allow");
    bed.pod("x/web", undefined);
    bed.pod("x/other", { ips: ["10.0.0.7"], labels: { app: "web" } });
    bed.pod("x/later", { ips: ["10.0.0.7"], labels: { app: "web" }, phase: "Pending" });
    bed.pod("x/other", undefined);
    expect([bed.ingress(API, WEB), bed.ingress(API, "10.0.0.7")]).toEqual(["allow", "deny"]);
  });

  test.each([
    ["x/old", "x/young"],
    ["x/young", "x/old"],
  ])("belongs to the pod that started later: %s, then %s", (...order) => {
    const bed = bedWith(isolated);
    const pods = {
      "x/old": { ips: ["10.0.0.7"], labels: { app: "web" }, started: "2026-11-30T09:00:00Z" },
      "x/young": { ips: ["10.0.0.7"], labels: { app: "other" }, started: "2026-11-30T09:00:01Z" },
    };
    for (const key of order) bed.pod(key, pods[key as keyof typeof pods]);
    expect(bed.ingress(API, "10.0.0.7")).toBe("allow");
    bed.pod("x/young", undefined);
    expect(bed.ingress(API, "10.0.0.7")).toBe("deny");
  });

  test("returns to the older pod if the newer one is removed", () => {
    const bed = bedWith(isolated);
    bed.pod("x/new", { ips: [WEB] });
    bed.pod("x/new", undefined);
    expect(bed.ingress(API, WEB)).toBe("deny");
  });
});

describe("attach", () => {
  /** x/new has no address yet; x/web has 10.0.0.1. */
  function bed(): Bed {
    const bed = bedWith({ podSelector: ALL, ingress: [{ from: [{ podSelector: { matchLabels: { app: "api" } } }] }] });
    bed.pod("x/new", { labels: { app: "api" }, uid: "1" });
    return bed;
  }

  test("isolates the pod and makes it a peer before its status has addresses", () => {
    const it = bed();
    it.attach("x/new", "1", "10.0.0.8");
    expect([it.ingress("10.0.0.8", WEB), it.ingress(FAR, "10.0.0.8")]).toEqual(["allow", "deny"]);
    it.pod("x/new", { labels: { app: "api" }, uid: "1", ips: ["10.0.0.8"] });
    expect(it.ingress("10.0.0.8", WEB)).toBe("allow");
  });

  test("yields to a status with other addresses", () => {
    const it = bed();
    it.attach("x/new", "1", "10.0.0.8");
    it.pod("x/new", { labels: { app: "api" }, uid: "1", ips: ["10.0.0.9"] });
    expect([it.ingress("10.0.0.8", WEB), it.ingress("10.0.0.9", WEB)]).toEqual(["deny", "allow"]);
  });

  test("of a new sandbox counts beside the addresses of the old one", () => {
    const it = bed();
    it.pod("x/new", { labels: { app: "api" }, uid: "1", ips: ["10.0.0.8"] });
    it.attach("x/new", "1", "10.0.0.9");
    it.pod("x/new", { labels: { app: "api", more: "labels" }, uid: "1", ips: ["10.0.0.8"] });
    expect([it.ingress("10.0.0.8", WEB), it.ingress("10.0.0.9", WEB)]).toEqual(["allow", "allow"]);
    it.pod("x/new", { labels: { app: "api" }, uid: "1", ips: ["10.0.0.9"] });
    expect([it.ingress("10.0.0.8", WEB), it.ingress("10.0.0.9", WEB)]).toEqual(["deny", "allow"]);
  });

  test("takes an address over, and the end of the older pod leaves it", () => {
    const it = bed();
    it.attach("x/new", "1", API);
    it.pod("x/api", { node: "n2", labels: { app: "api", more: "labels" }, ips: [API] });
    expect(it.ingress(FAR, API)).toBe("deny");
    it.pod("x/api", undefined);
    expect([it.ingress(FAR, API), it.ingress(API, WEB)]).toEqual(["deny", "allow"]);
  });

  test.each([
    ["ends", { labels: { app: "api" }, uid: "1", phase: "Failed" }],
    ["is removed", undefined],
    ["is replaced", { labels: { app: "api" }, uid: "2" }],
  ])("ends when the pod %s", (_, pod) => {
    const it = bed();
    it.attach("x/new", "1", "10.0.0.8");
    it.pod("x/new", pod);
    it.pod("x/new", { labels: { app: "api" }, uid: "1" });
    expect([it.ingress("10.0.0.8", WEB), it.ingress(FAR, "10.0.0.8")]).toEqual(["deny", "allow"]);
  });

  test("waits for a pod that is unknown under its UID", () => {
    const it = bed();
    expect([it.map.hasPod("x/new", "1"), it.map.hasPod("x/new", "2")]).toEqual([true, false]);
    it.attach("x/new", "2", "10.0.0.8");
    expect(it.ingress("10.0.0.8", WEB)).toBe("deny");
    it.pod("x/new", undefined);
    it.pod("x/new", { labels: { app: "api" }, uid: "2" });
    expect(it.ingress("10.0.0.8", WEB)).toBe("allow");
  });

  test("finds a static pod by the hash of its configuration", () => {
    const it = bed();
    it.pod("x/new", { labels: { app: "api" }, uid: "1", configHash: "abc" });
    expect(it.map.hasPod("x/new", "abc")).toBe(true);
    it.attach("x/new", "abc", "10.0.0.8");
    expect(it.ingress("10.0.0.8", WEB)).toBe("allow");
  });

  test("keeps addresses of several networks of a pod, and detach removes them", () => {
    const it = bed();
    it.attach("x/new", "1", "10.0.0.8");
    it.attach("x/new", "1", "10.0.0.9");
    expect([it.ingress("10.0.0.8", WEB), it.ingress("10.0.0.9", WEB)]).toEqual(["allow", "allow"]);
    it.map.detach("x/new");
    it.apply();
    expect([it.ingress("10.0.0.8", WEB), it.ingress("10.0.0.9", WEB)]).toEqual(["deny", "deny"]);
  });
});

describe("audit of a Namespace", () => {
  test("changes the profiles of its pods", () => {
    const bed = bedWith({ podSelector: ALL });
    const isAudited = () => [...bed.tables.profiles.values()].map((profile) => profile.isAudited);
    expect(isAudited()).toEqual([false]);
    bed.namespace("x", {}, { "weft/policy-mode": "audit" });
    expect(isAudited()).toEqual([true]);
    expect(bed.map.policies().map((policy) => policy.isAudited)).toEqual([true]);
    bed.namespace("x", {}, { "weft/policy-mode": "other" });
    expect(isAudited()).toEqual([false]);
    bed.namespace("y", {}, { "weft/policy-mode": "audit" });
    expect(bed.apply()).toBe(0);
  });
});

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
