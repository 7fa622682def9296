import { describe, expect, test } from "vitest";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix } from "../../../pkg/ip/prefix.ts";
import type { Health } from "../../core/health.ts";
import { serviceObject, sliceObject } from "../../sources/fake-service-source.ts";
import { LOOPBACK_GUARDED, PODS_SEEN, PROXY_TURN, SERVICES_PROGRAMMED, SERVICES_SYNC } from "../facts.ts";
import { bench, NOTHING } from "./services-bench.ts";

const readiness = (health: Health) => health.readiness().text.match(/\[.\] services: .*/g);

describe("at the start", () => {
  test("nothing is programmed before Services and EndpointSlices are listed and the Node is known; then everything is compared", async () => {
    const { facts, source, runner, controller, view, settle, taken, health, nodes } = bench();
    facts.of(PROXY_TURN).publish({ isOurs: true });
    view.isSynced = false;
    runner.start(controller);
    expect(readiness(health)).toEqual(["[-] services: not tried yet"]);
    source.services.put(serviceObject("web", "10.96.0.1"));
    source.services.becomes({ hasSynced: true, phase: "watching" });
    await settle();
    expect(readiness(health)).toEqual(["[-] services: this Node is not known yet"]);
    view.isSynced = true;
    nodes.notify();
    await settle();
    expect(readiness(health)).toEqual(["[-] services: Services and EndpointSlices are not listed yet"]);
    source.slices.put(sliceObject("web", ["10.244.1.2"]));
    source.slices.becomes({ hasSynced: true, phase: "watching" });
    await settle();
    expect(taken()).toEqual([]);
    source.cidrs.becomes({ hasSynced: true, phase: "absent" });
    await settle();
    expect(taken()).toEqual(["compare none: 10.96.0.1:80>10.244.1.2"]);
    expect(readiness(health)).toEqual(["[+] services: 1 Services with 1 endpoints are programmed"]);
  });

  test("waits for the notice of a synced store, so that Services do not lose their endpoints", async () => {
    const { facts, source, runner, controller, settle, taken } = bench();
    facts.of(PROXY_TURN).publish({ isOurs: true });
    runner.start(controller);
    source.slices.isSilent = true;
    source.services.put(serviceObject("web", "10.96.0.1"));
    source.slices.put(sliceObject("web", ["10.244.1.2"]));
    source.listed();
    await settle();
    expect(taken()).toEqual([]);
    source.slices.tell();
    await settle();
    expect(taken()).toEqual(["compare none: 10.96.0.1:80>10.244.1.2"]);
  });

  test("waits for other controllers' facts, for a limited time", async () => {
    const { facts, start, settle, taken } = bench("--nodeport-addresses", "primary,localhost");
    expect(await start()).toEqual([]);
    facts.of(LOOPBACK_GUARDED).publish(true);
    await settle();
    expect(taken()).toHaveLength(1);
    const other = bench("--nodeport-addresses", "primary,localhost");
    expect(await other.start()).toEqual([]);
    other.clock.advance(2000);
    await other.settle();
    expect(other.taken()).toEqual([]);
    other.clock.advance(1000);
    await other.settle();
    expect(other.taken()).toHaveLength(1);
  });

  test("ServiceCIDRs that cannot be listed do not delay Services, and cause a warning", async () => {
    const { facts, source, runner, controller, settle, taken, health } = bench();
    facts.of(PROXY_TURN).publish({ isOurs: true });
    runner.start(controller);
    for (const store of [source.services, source.slices]) store.becomes({ hasSynced: true, phase: "watching" });
    source.cidrs.becomes({ phase: "stale", reason: "403 Forbidden" });
    await settle();
    expect(taken()).toEqual(["compare none: "]);
    expect(readiness(health)).toContainEqual(expect.stringMatching(/ServiceCIDRs cannot be watched.*403 Forbidden/));
  });

  test("the settings come from the flags, the Node, its pods and the ServiceCIDRs", async () => {
    const { facts, source, start, settings } = bench("--masquerade-all", "--masquerade-bit", "3");
    source.cidrs.put({ metadata: { name: "kubernetes" }, spec: { cidrs: ["10.96.0.0/16"] } });
    const outside = [{ address: parseAddress("10.9.9.9"), mark: "m", isBridged: true }];
    facts.of(PODS_SEEN).publish({ hasPorts: true, renumbering: { outside, former: [] }, changes: 0 });
    await start();
    const [{ localPods = [], serviceRanges = [], ...rest } = {}] = settings;
    expect(localPods.map(formatPrefix)).toEqual(["10.244.1.0/24", "10.9.9.9/32"]);
    expect(serviceRanges.map(formatPrefix)).toEqual(["10.96.0.0/16"]);
    expect(rest).toEqual({ masqueradeAll: true, masqueradeBit: 3 });
  });
});

describe("the fast path", () => {
  test("a change is sent without a comparison, and simultaneous changes are sent together", async () => {
    const { source, start, settle, taken } = bench();
    await start();
    source.slices.put(sliceObject("web", ["10.244.1.2", "10.244.2.2"]));
    await settle();
    expect(taken()).toEqual(["change: 10.96.0.1:80>10.244.1.2,10.244.2.2"]);
    source.slices.put(sliceObject("web", ["10.244.2.2"]));
    source.services.put(serviceObject("dns", "10.96.0.10"));
    source.slices.put(sliceObject("web", ["10.244.2.3"]));
    await settle();
    expect(taken()).toEqual(["change: 10.96.0.1:80>10.244.2.3 10.96.0.10:80>"]);
    source.services.remove("default/web");
    await settle();
    expect(taken()).toEqual(["change: -10.96.0.1:80"]);
  });

  test("an unchanged frontend is not sent", async () => {
    const { source, start, settle, taken } = bench();
    await start();
    source.slices.put(sliceObject("web", ["10.244.1.9"]));
    source.slices.put(sliceObject("web", ["10.244.1.2"]));
    await settle();
    expect(taken().filter((one) => one !== "change: ")).toEqual([]);
  });

  test("a stale store changes nothing and causes a warning", async () => {
    const { source, start, settle, taken, health } = bench();
    await start();
    source.slices.becomes({ phase: "stale", reason: "connection refused" });
    await settle();
    expect(taken()).toEqual([]);
    expect(readiness(health)).toEqual([
      expect.stringMatching(/^\[\+\] services/),
      expect.stringMatching(/^\[!\] services: EndpointSlices cannot be watched.*connection refused/),
    ]);
  });

  test("publishes each sync with the times of its triggers", async () => {
    const { facts, source, start, settle } = bench();
    await start();
    const syncs: unknown[] = [];
    facts.of(SERVICES_SYNC).subscribe(() => syncs.push(facts.of(SERVICES_SYNC).value));
    source.slices.put(sliceObject("web", ["10.244.1.3"], "2026-11-30T12:00:00Z"));
    await settle();
    expect(syncs).toMatchObject([
      {
        ...{ kind: "partial", isSuccess: true, families: [4], serviceChanges: 0, endpointChanges: 1 },
        triggers: [{ family: 4, triggeredMs: Date.UTC(2026, 10, 30, 12) }],
      },
    ]);
    expect(facts.of(SERVICES_PROGRAMMED).value?.changes).toHaveLength(1);
  });

  test("a refused change is followed by a comparison of everything in the same pass", async () => {
    const { source, start, settle, taken, answers } = bench();
    await start();
    answers(() => {
      throw new Error("no such set");
    });
    source.slices.put(sliceObject("web", ["10.244.1.3"]));
    await settle();
    expect(taken()).toEqual(["change: 10.96.0.1:80>10.244.1.3", "compare none: 10.96.0.1:80>10.244.1.3"]);
  });
});

describe("the slow path", () => {
  test("a table changed by another program is compared, and differences count as repairs", async () => {
    const { start, settle, taken, damage } = bench();
    await start();
    damage();
    damage();
    await settle();
    expect(taken()).toEqual(["compare objects: 10.96.0.1:80>10.244.1.2"]);
  });

  test("if there are other changes, only the table as a whole counts as repaired", async () => {
    const { source, start, settle, taken, damage } = bench();
    await start();
    damage();
    source.slices.put(sliceObject("web", ["10.244.1.3"]));
    await settle();
    expect(taken()).toEqual(["compare table: 10.96.0.1:80>10.244.1.3"]);
  });

  test("damage during a comparison triggers another one", async () => {
    const { start, settle, taken, damage, answers } = bench();
    await start();
    answers(() => {
      damage();
      return NOTHING;
    });
    damage();
    await settle(20);
    expect(taken()).toHaveLength(2);
  });

  test("a failed comparison is retried, and changes do not hurry the retry", async () => {
    const { source, start, settle, taken, damage, answers, health } = bench();
    await start();
    answers(() => {
      throw new Error("no buffer space");
    });
    damage();
    await settle(10);
    expect(taken()).toHaveLength(1);
    expect(readiness(health)).toEqual(["[-] services: no buffer space"]);
    source.slices.put(sliceObject("web", ["10.244.1.3"]));
    await settle(20);
    expect(taken()).toEqual([]);
    await settle(100);
    expect(taken()).toEqual(["compare none: 10.96.0.1:80>10.244.1.3"]);
    expect(readiness(health)).toEqual([expect.stringMatching(/^\[\+\]/)]);
  });

  test("changed settings trigger a comparison; a deleted Node counts as unchanged", async () => {
    const { source, view, nodes, start, settle, taken } = bench();
    await start();
    view.own = undefined;
    nodes.notify();
    await settle();
    expect(taken()).toEqual([]);
    source.cidrs.put({ metadata: { name: "more" }, spec: { cidrs: ["10.97.0.0/16"] } });
    await settle();
    expect(taken()).toEqual(["compare none: 10.96.0.1:80>10.244.1.2"]);
  });

  test("everything is compared periodically, regardless of changes", async () => {
    const { clock, source, start, settle, taken } = bench();
    await start();
    clock.advance(9 * 60_000);
    source.slices.put(sliceObject("web", ["10.244.1.3"]));
    await settle();
    expect(taken()).toEqual(["change: 10.96.0.1:80>10.244.1.3"]);
    clock.advance(60_000);
    await settle();
    expect(taken()).toEqual(["compare objects: 10.96.0.1:80>10.244.1.3"]);
  });
});

describe("the proxy of this node", () => {
  test("while another program serves Services, nothing is programmed; then everything is compared", async () => {
    const { facts, source, start, settle, taken, damage, health } = bench();
    await start();
    facts.of(PROXY_TURN).publish({ isOurs: false });
    source.slices.put(sliceObject("web", ["10.244.1.3"]));
    damage();
    await settle();
    expect(taken()).toEqual([]);
    expect(readiness(health)).toEqual([expect.stringMatching(/^\[\+\] services: another program serves Services/)]);
    facts.of(PROXY_TURN).publish({ isOurs: true });
    await settle();
    expect(taken()).toEqual(["compare none: 10.96.0.1:80>10.244.1.3"]);
  });
});
