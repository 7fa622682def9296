import { describe, expect, test } from "vitest";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { podObject, policyObject } from "../../sources/fake-policy-source.ts";
import { POLICY_PROGRAMMED, POLICY_STATE } from "../facts.ts";
import { attached, bench, NOTHING, nodeOf } from "./policy-bench.ts";

const question = (from: string, to: string) => ({
  ...{ from: parseAddress(from), to: parseAddress(to), protocol: 6, port: 80 },
});

describe("at the start", () => {
  test("nothing is programmed or removed before everything is listed; then everything is compared once", async () => {
    const { source, runner, controller, settle, taken, readiness, facts } = bench();
    runner.start(controller);
    await settle();
    expect(source.isStarted).toBe(true);
    source.policies.put(policyObject("p", "web"));
    source.policies.becomes({ phase: "watching", hasSynced: true });
    await settle();
    expect(readiness()).toEqual([
      "[-] policies: ClusterNetworkPolicies are not listed yet; Namespaces are not listed yet; Pods are not listed yet",
    ]);
    expect(facts.of(POLICY_STATE).value).toBeUndefined();
    source.listed();
    source.pods.put(podObject("web", ["10.244.1.2"]));
    source.pods.becomes({ phase: "watching", hasSynced: true });
    await settle();
    expect([taken(), source.listsPods]).toEqual([[], true]);
    expect(facts.of(POLICY_STATE).value).toEqual({ mode: "enforce", hasPolicies: true, fail: "closed" });
    source.podsListed();
    await settle();
    expect(taken()).toEqual(["compare none: 10.244.1.2"]);
    expect(readiness()).toEqual(["[+] policies: enforce: 1 pods are isolated"]);
  });

  test("a cluster without policies lists no pods, and has no table", async () => {
    const { source, runner, controller, settle, taken, facts, readiness } = bench();
    runner.start(controller);
    source.listed();
    await settle();
    expect([taken(), source.listsPods]).toEqual([["remove"], false]);
    expect(facts.of(POLICY_STATE).value).toEqual({ mode: "enforce", hasPolicies: false, fail: "open" });
    expect(readiness()).toEqual(["[+] policies: enforce: the cluster has no policies"]);
    source.policies.put(policyObject("p", "web"));
    await settle();
    expect([taken(), source.listsPods]).toEqual([[], true]);
    source.pods.put(podObject("web", ["10.244.1.2"]));
    source.podsListed();
    await settle();
    expect(taken()).toEqual(["compare none: 10.244.1.2"]);
    source.policies.remove("default/p");
    await settle();
    expect(taken()).toEqual(["remove"]);
    await settle();
    expect(taken()).toEqual([]);
  });

  test("policies that cannot be listed leave the kernel and the conflist alone, and readiness names the missing right", async () => {
    const { source, runner, controller, settle, taken, readiness, facts } = bench();
    runner.start(controller);
    source.listed();
    const other = bench();
    other.runner.start(other.controller);
    other.source.policies.becomes({ phase: "stale", reason: "403 Forbidden: the account needs list and watch" });
    await other.settle();
    expect(other.taken()).toEqual([]);
    expect(other.facts.of(POLICY_STATE).value).toBeUndefined();
    expect(other.readiness()).toEqual([
      expect.stringMatching(/^\[-\] policies: NetworkPolicies are not listed yet: 403 .*needs list and watch; Cluster/),
    ]);
    await settle();
    source.policies.becomes({ phase: "stale", reason: "connection refused" });
    await settle();
    expect(taken()).toEqual(["remove"]);
    expect(readiness()?.[1]).toMatch(/^\[!\] policies: NetworkPolicies cannot be watched.*connection refused/);
    expect(facts.of(POLICY_STATE).value?.hasPolicies).toBe(false);
  });

  test("pods without a reported address have that of the runtime's cache, so that a restart does not open them", async () => {
    const at = bench({ cached: [attached("web", "10.244.1.2")] });
    at.source.policies.put(policyObject("p", "web"));
    at.source.listed();
    at.source.pods.put(podObject("web", []));
    at.source.podsListed();
    at.runner.start(at.controller);
    await at.settle();
    expect(at.taken()).toEqual(["compare none: 10.244.1.2"]);
  });
});

describe("the mode", () => {
  test("is recorded on the Node, and not changed afterwards", async () => {
    const at = bench({ peers: [nodeOf("n2", { backend: { type: "vxlan" } })] });
    await at.start();
    expect([at.recorded, at.settings]).toEqual([["audit"], [{ isAudit: true, hasLog: true }]]);
    expect(at.facts.of(POLICY_STATE).value).toEqual({ mode: "audit", hasPolicies: true, fail: "open" });
    at.view.peers = [nodeOf("n2", { networkPolicy: "enforce" })];
    at.nodes.notify();
    await at.settle();
    expect([at.recorded, at.taken()]).toEqual([["audit"], []]);
  });

  test("waits for the Nodes, unless the flag sets the mode", async () => {
    const at = bench();
    at.view.isSynced = false;
    expect(await at.start()).toEqual([]);
    expect(at.readiness()).toEqual(["[-] policies: the Nodes are not listed yet"]);
    at.view.isSynced = true;
    at.nodes.notify();
    await at.settle();
    expect(at.taken()).toHaveLength(1);
    const flagged = bench({ flags: { networkPolicy: "enforce", policyFail: "open" } });
    flagged.view.isSynced = false;
    expect(await flagged.start()).toHaveLength(1);
    expect(flagged.facts.of(POLICY_STATE).value).toEqual({ mode: "enforce", hasPolicies: true, fail: "open" });
  });

  test("without nfnetlink_log, nothing is logged, and readiness warns", async () => {
    const at = bench();
    at.kernel.hasLog = false;
    await at.start();
    expect(at.settings).toEqual([{ isAudit: false, hasLog: false }]);
    at.nodes.notify();
    await at.settle();
    expect(at.readiness()).toContainEqual(expect.stringMatching(/^\[!\] policies: the kernel lacks nfnetlink_log/));
  });
});

describe("the fast path", () => {
  test("a change of labels sends the pod's entry, and simultaneous changes are sent together", async () => {
    const { source, start, settle, taken } = bench();
    expect(await start()).toEqual(["compare none: 10.244.1.2"]);
    source.pods.put(podObject("bad", ["10.244.2.4"], { labels: { app: "good" }, node: "n2" }));
    await settle();
    expect(taken()).toEqual(["change: peer 10.244.2.4"]);
    source.pods.put(podObject("bad", ["10.244.2.4"], { node: "n2" }));
    source.pods.remove("default/good");
    await settle();
    expect(taken()).toHaveLength(1);
    source.pods.put(podObject("other", ["10.244.2.9"], { node: "n2" }));
    await settle();
    expect(taken()).toEqual([]);
  });

  test("a refused change is followed by a comparison of everything in the same pass", async () => {
    const { source, start, settle, taken, kernel } = bench();
    await start();
    kernel.next = () => {
      throw new Error("no such set");
    };
    source.pods.put(podObject("bad", ["10.244.2.4"], { labels: { app: "good" }, node: "n2" }));
    await settle();
    expect(taken()).toEqual(["change: peer 10.244.2.4", "compare none: 10.244.1.2"]);
  });

  test("each sync is published with its changes and the judgement of the present policies", async () => {
    const { source, start, settle, facts } = bench();
    await start();
    expect(facts.of(POLICY_PROGRAMMED).value).toMatchObject({ changes: undefined, damagedSinceMs: undefined });
    source.pods.put(podObject("bad", ["10.244.2.4"], { labels: { app: "good" }, node: "n2" }));
    await settle();
    const { changes, isAllowed, judge, profile } = facts.of(POLICY_PROGRAMMED).value ?? {};
    expect(changes).toHaveLength(1);
    expect(isAllowed?.(question("10.244.2.4", "10.244.1.2"))).toBe(true);
    expect(isAllowed?.(question("10.244.2.5", "10.244.1.2"))).toBe(false);
    expect(judge?.(question("10.244.2.5", "10.244.1.2")).ingress).toMatchObject({ policies: ["default/p"] });
    expect(profile?.(1)).toBeUndefined();
  });

  test("a connection that is only audited counts as allowed", async () => {
    const { source, start, settle, facts } = bench();
    await start();
    const audited = { name: "default", uid: "ns", annotations: { "weft/policy-mode": "audit" } };
    source.namespaces.put({ metadata: audited });
    await settle();
    expect(facts.of(POLICY_PROGRAMMED).value?.isAllowed(question("10.244.2.5", "10.244.1.2"))).toBe(true);
  });

  test("metrics have the durations, the latency and the numbers of objects", async () => {
    const { source, start, settle, metrics } = bench();
    await start();
    source.pods.put(podObject("bad", ["10.244.2.4"], { labels: { app: "good" }, node: "n2" }));
    await settle();
    const text = await metrics.text();
    expect(text).toContain('weft_policy_sync_duration_seconds_count{kind="full",result="success"} 1');
    expect(text).toContain('weft_policy_sync_duration_seconds_count{kind="partial",result="success"} 1');
    expect(text).toContain("weft_policy_programming_latency_seconds_count 2");
    expect(text).toContain('weft_policy_policies{kind="NetworkPolicy"} 1');
    expect(text).toContain("weft_policy_isolated_pods 1");
    expect(text).toContain('weft_policy_mode{mode="enforce"} 1');
    expect(text).toContain('weft_policy_mode{mode="audit"} 0');
  });
});

describe("the slow path", () => {
  test("a table changed by another program is compared, differences count as repairs, and the fact has the time", async () => {
    const { start, settle, taken, damage, clock, facts, readiness } = bench();
    await start();
    const damagedMs = clock.nowMs();
    damage();
    damage();
    await settle();
    expect(taken()).toEqual(["compare objects: 10.244.1.2"]);
    expect(facts.of(POLICY_PROGRAMMED).value?.damagedSinceMs).toBe(damagedMs);
    expect(readiness()).toEqual([expect.stringMatching(/^\[\+\]/)]);
  });

  test("a failed comparison is retried, keeps the time of the damage, and changes do not hurry it", async () => {
    const { source, start, settle, taken, damage, kernel, readiness, clock, facts } = bench();
    await start();
    kernel.next = () => {
      throw new Error("no buffer space");
    };
    const damagedMs = clock.nowMs();
    damage();
    await settle(10);
    expect(taken()).toHaveLength(1);
    expect(readiness()).toEqual(["[-] policies: no buffer space"]);
    source.pods.put(podObject("bad", ["10.244.2.4"], { labels: { app: "good" }, node: "n2" }));
    await settle(20);
    expect(taken()).toEqual([]);
    await settle(100);
    expect(taken()).toEqual(["compare none: 10.244.1.2"]);
    expect(facts.of(POLICY_PROGRAMMED).value?.damagedSinceMs).toBe(damagedMs);
  });

  test("everything is compared periodically, regardless of changes", async () => {
    const { clock, start, settle, taken } = bench();
    await start();
    clock.advance(9 * 60_000);
    await settle();
    expect(taken()).toEqual([]);
    clock.advance(60_000);
    await settle();
    expect(taken()).toEqual(["compare objects: 10.244.1.2"]);
  });

  test("a held-back repair is tried again", async () => {
    const { start, settle, taken, damage, kernel } = bench();
    await start();
    kernel.next = () => ({ ...NOTHING, resting: 1 });
    damage();
    await settle();
    expect(taken()).toEqual(["compare objects: 10.244.1.2"]);
  });
});
