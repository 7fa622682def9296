import { describe, expect, test } from "vitest";
import { podObject, policyObject } from "../../sources/fake-policy-source.ts";
import { attached, bench, nodeOf } from "./policy-bench.ts";

const WEB = attached("web2", "10.244.1.7");
const never = new AbortController().signal;

/** The pod web2, which the policy isolates, is bound to the node, and has no address. */
async function withPod() {
  const at = bench();
  await at.start();
  at.source.pods.put(podObject("web2", [], { labels: { app: "web" } }));
  await at.settle();
  at.taken();
  return { ...at, installer: at.controller.installer };
}

describe("a known pod", () => {
  test("is installed at its address before its status has one, without waiting for a pass", async () => {
    const { installer, taken } = await withPod();
    expect(installer.knows(WEB)).toBe(true);
    expect(await installer.install(WEB)).toEqual({ isIsolated: true });
    expect(taken()).toEqual(["change: subject 10.244.1.7"]);
  });

  test("that no policy concerns is not isolated", async () => {
    const { installer, source, settle } = await withPod();
    source.pods.put(podObject("free", []));
    await settle();
    expect(await installer.install(attached("free", "10.244.1.8"))).toEqual({ isIsolated: false });
  });

  test("is installed together with pending changes, and never during another transaction", async () => {
    const { installer, source, settle, taken, kernel } = await withPod();
    let release: () => void = () => undefined;
    kernel.next = () =>
      new Promise((resolve) => (release = () => resolve({ transactions: 1, requests: 1, resting: 0 })));
    source.pods.put(podObject("bad", ["10.244.2.4"], { labels: { app: "good" }, node: "n2" }));
    await settle();
    const installed = Promise.all([installer.install(WEB), installer.install(attached("web2", "10.244.1.9"))]);
    await settle();
    expect(taken()).toEqual(["change: peer 10.244.2.4"]);
    release();
    expect(await installed).toEqual([{ isIsolated: true }, { isIsolated: true }]);
    expect(taken()).toEqual(["change: subject 10.244.1.7 subject 10.244.1.9"]);
  });

  test("is refused with the kernel's reason, and the next pass compares everything", async () => {
    const { installer, settle, taken, kernel } = await withPod();
    const refuse = () => {
      throw new Error("no space left on device");
    };
    kernel.next = () => {
      kernel.next = refuse;
      return refuse();
    };
    await expect(installer.install(WEB)).rejects.toThrow("no space left on device");
    taken();
    await settle(200);
    expect(taken()).toEqual(["compare none: 10.244.1.2 10.244.1.7"]);
  });

  test("without a UID is the pod that has the name now", async () => {
    const { installer } = await withPod();
    expect(installer.knows({ ...WEB, uid: "" })).toBe(true);
    expect(await installer.install({ ...WEB, uid: "" })).toEqual({ isIsolated: true });
  });
});

describe("an unknown pod", () => {
  test("is awaited until the watch brings it", async () => {
    const { installer, source, settle } = await withPod();
    const late = attached("late", "10.244.1.10");
    expect(installer.knows(late)).toBe(false);
    let hasCome = false;
    const coming = installer.awaitPod(late, never).then(() => {
      hasCome = true;
    });
    await settle();
    expect(hasCome).toBe(false);
    source.pods.put(podObject("late", []));
    await coming;
    expect(installer.knows(late)).toBe(true);
  });

  test("is no longer awaited after an abort", async () => {
    const { installer } = await withPod();
    const controller = new AbortController();
    const coming = installer.awaitPod(attached("late", "10.244.1.10"), controller.signal);
    controller.abort(new Error("too late"));
    await expect(coming).rejects.toThrow("too late");
  });

  test("is read from the API server, and stays although the watch still ends an earlier pod of its name", async () => {
    const { installer, source, settle, taken } = await withPod();
    source.unwatched.set("default/web2", podObject("web2", [], { labels: { app: "web" }, uid: "new" }));
    const again = attached("web2", "10.244.1.11", "new");
    expect(installer.knows(again)).toBe(false);
    await installer.readPod(again, never);
    expect(await installer.install(again)).toEqual({ isIsolated: true });
    await settle();
    taken();
    source.pods.remove("default/web2");
    await settle();
    expect(taken()).toEqual([]);
    source.pods.put(podObject("web2", ["10.244.1.11"], { labels: { app: "web" }, uid: "new" }));
    await settle();
    expect(taken()).toEqual([]);
  });

  test("that was read but that no watch delivers is forgotten after a while", async () => {
    const { installer, source, settle, taken, clock } = await withPod();
    source.unwatched.set("default/ghost", podObject("ghost", [], { labels: { app: "web" } }));
    await installer.readPod(attached("ghost", "10.244.1.12"), never);
    await installer.install(attached("ghost", "10.244.1.12"));
    await settle();
    taken();
    clock.advance(60_000);
    await settle();
    expect(taken()).toEqual(["change: subject 10.244.1.12=-"]);
  });

  test("is refused if the API server does not have it, or has another one of its name", async () => {
    const { installer, source } = await withPod();
    await expect(installer.readPod(attached("none", "10.244.1.13"), never)).rejects.toThrow(/no pod default\/none/);
    source.unwatched.set("default/other", podObject("other", [], { uid: "u2" }));
    await expect(installer.readPod(attached("other", "10.244.1.13", "u1"), never)).rejects.toThrow(/another pod.*u2/);
  });
});

describe("without policies", () => {
  test("every pod is known, nothing is programmed, and the first policy isolates pods without a reported address", async () => {
    const at = bench();
    at.source.listed();
    at.runner.start(at.controller);
    await at.settle();
    at.taken();
    const { installer } = at.controller;
    expect(installer.knows(WEB)).toBe(true);
    expect(await installer.install(WEB)).toEqual({ isIsolated: false });
    expect(at.taken()).toEqual([]);
    at.source.policies.put(policyObject("p", "web"));
    at.source.pods.put(podObject("web2", [], { labels: { app: "web" } }));
    at.source.podsListed();
    await at.settle();
    expect(at.taken()).toEqual(["compare none: 10.244.1.7"]);
  });
});

test("before the mode is decided, pods are unknown and installations wait", async () => {
  const at = bench({ own: nodeOf("n1", { backend: { type: "vxlan" } }) });
  at.view.isSynced = false;
  await at.start();
  const { installer } = at.controller;
  const pod = attached("web", "10.244.1.2");
  expect(installer.knows(pod)).toBe(false);
  const installing = installer.install(pod);
  await at.settle();
  expect(at.taken()).toEqual([]);
  at.view.isSynced = true;
  at.nodes.notify();
  await at.settle();
  expect(await installing).toEqual({ isIsolated: true });
  expect(at.settings).toEqual([{ isAudit: true, hasLog: true }]);
});

test("before the first sync, pods are unknown and installations wait", async () => {
  const at = bench();
  const { installer } = at.controller;
  expect(installer.knows(WEB)).toBe(false);
  const installing = installer.install(WEB);
  at.source.pods.put(podObject("web2", [], { labels: { app: "web" } }));
  at.runner.start(at.controller);
  await at.settle();
  expect(at.taken()).toEqual([]);
  at.source.policies.put(policyObject("p", "web"));
  at.source.listed();
  at.source.podsListed();
  expect(await installing).toEqual({ isIsolated: true });
});
