import { describe, expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import { type Address, formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix, parseSubnet } from "../../../pkg/ip/prefix.ts";
import { addAddress } from "../../../pkg/kernel/address.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import { RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import type { Frontend, FrontendChange, NodeSettings } from "../../../pkg/services/frontend.ts";
import { ServiceMap } from "../../../pkg/services/service-map.ts";
import { Health } from "../../core/health.ts";
import { openLog } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Runner } from "../../core/runner.ts";
import { Facts, Topic } from "../../core/topic.ts";
import { parseOptions } from "../../options.ts";
import { FakeServiceSource, serviceObject, sliceObject } from "../../sources/fake-service-source.ts";
import { LOOPBACK_GUARDED, PODS_SEEN, PROXY_TURN, SERVICES_PROGRAMMED, SERVICES_SYNC } from "../facts.ts";
import { ServiceMetrics } from "./service-metrics.ts";
import { type Repairs, SERVICES_PLACE, type SentTransactions } from "./service-programmer.ts";
import { ServicesController } from "./services.ts";

const OWN: ClusterNode = {
  ...{ name: "n1", uid: "u1", podCidrs: [parseSubnet("10.244.1.0/24")], zone: "a" },
  internalAddresses: [parseAddress("192.0.2.1")],
  ...{ hasRefusedClaim: false, managed: true, problems: [] },
};

const NOTHING: SentTransactions = { transactions: 0, requests: 0, resting: 0 };

/** "10.96.0.1:80" */
const place = ({ address, port }: Frontend) => `${formatAddress(address)}:${port}`;
/** "10.96.0.1:80>10.244.1.2,10.244.1.3" */
const line = (one: Frontend) => `${place(one)}>${one.endpoints.map(({ address }) => formatAddress(address)).join()}`;

function bench(...flags: string[]) {
  const clock = new ManualClock();
  clock.chance = 0.5;
  const source = new FakeServiceSource();
  const map = new ServiceMap();
  const facts = new Facts();
  const health = new Health(clock);
  const metrics = new Metrics();
  const log = openLog("fatal", "n1");
  const nodes = new Topic("nodes");
  const view: { own: ClusterNode | undefined; isSynced: boolean } = { own: OWN, isSynced: true };
  const local = { addresses: [parseAddress("192.0.2.1")] as readonly Address[] };
  const gate = new RepairGate(clock, { onRepair: () => undefined, onContention: () => undefined });
  /** What was asked of the mode, in order. */
  const asked: string[] = [];
  const settings: NodeSettings[] = [];
  let next: (() => SentTransactions) | undefined;
  const answer = async () => {
    await Promise.resolve();
    const outcome = next;
    next = undefined;
    return outcome?.() ?? { ...NOTHING, transactions: 1, requests: 2 };
  };
  const programmer = {
    compare: (frontends: readonly Frontend[], wanted: NodeSettings, repairs: Repairs) => {
      asked.push(`compare ${repairs}: ${frontends.map(line).sort().join(" ")}`);
      settings.push(wanted);
      return answer();
    },
    change: (changes: readonly FrontendChange[]) => {
      asked.push(
        `change: ${changes.map(({ before, after }) => (after ? line(after) : `-${place(before as Frontend)}`)).join(" ")}`,
      );
      return answer();
    },
  };
  const controller = new ServicesController({
    options: parseOptions(["--node-name", "n1", "--service-proxy", "nftables", ...flags]),
    ...{ map, source, view, nodes, gate, facts, health, clock, log, programmer },
    cluster: { apiServers: [{ address: parseAddress("192.0.2.250"), port: 6443 }] },
    addresses: {
      heard: () => ({ reason: "this node's addresses", isPatient: true }),
      read: async () => local.addresses,
      forget: () => undefined,
    },
    metrics: new ServiceMetrics(metrics.registry, map),
  });
  const runner = new Runner({ clock, metrics, log, kernel: { snapshot: () => Promise.reject(new Error("not read")) } });
  /** Lets passes that are due within `ms` run. */
  const settle = async (ms = 10) => {
    for (let left = ms; left >= 0; left -= 5) {
      for (let turn = 0; turn < 3; turn++) {
        clock.advance(0);
        await new Promise((resolve) => setImmediate(resolve));
      }
      clock.advance(5);
    }
  };
  /** What was asked since the last call. */
  const taken = () => asked.splice(0);
  const damage = () => runner.tableChanged(SERVICES_PLACE);
  const notify = (message: Message) => runner.notified(message);
  const start = async () => {
    facts.of(PROXY_TURN).publish({ isOurs: true });
    source.services.put(serviceObject("web", "10.96.0.1"));
    source.slices.put(sliceObject("web", ["10.244.1.2"]));
    source.listed();
    runner.start(controller);
    await settle();
    return taken();
  };
  const answers = (outcome: () => SentTransactions) => {
    next = outcome;
  };
  return {
    ...{ clock, source, map, facts, health, metrics, nodes, view, local, settings, controller, runner },
    ...{ settle, taken, damage, notify, start, answers },
  };
}

const readiness = (health: Health) => health.readiness().text.match(/\[.\] services: .*/g);

describe("at the start", () => {
  test("nothing is programmed before Services and EndpointSlices are listed and the Node is known; then all is compared", async () => {
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

  test("a store that has synced, and has not told of it yet, is waited for: Services would lose their endpoints", async () => {
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

  test("ServiceCIDRs that cannot be listed keep no Service waiting, and are a warning", async () => {
    const { facts, source, runner, controller, settle, taken, health } = bench();
    facts.of(PROXY_TURN).publish({ isOurs: true });
    runner.start(controller);
    for (const store of [source.services, source.slices]) store.becomes({ hasSynced: true, phase: "watching" });
    source.cidrs.becomes({ phase: "stale", reason: "403 Forbidden" });
    await settle();
    expect(taken()).toEqual(["compare none: "]);
    expect(readiness(health)).toContainEqual(expect.stringMatching(/ServiceCIDRs cannot be watched.*403 Forbidden/));
  });

  test("the settings are those of the flags, the Node, its pods and the ServiceCIDRs", async () => {
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
  test("a change is sent alone, and changes that come together are one", async () => {
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

  test("what is as before is not sent", async () => {
    const { source, start, settle, taken } = bench();
    await start();
    source.slices.put(sliceObject("web", ["10.244.1.9"]));
    source.slices.put(sliceObject("web", ["10.244.1.2"]));
    await settle();
    expect(taken().filter((one) => one !== "change: ")).toEqual([]);
  });

  test("a store that is stale changes nothing, and says so", async () => {
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

  test("what was synced is published, with the times that triggered it", async () => {
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

  test("a change that the kernel refuses is followed by a comparison of everything, in the same pass", async () => {
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
  test("a table that another program has changed is compared, and what differs are repairs", async () => {
    const { start, settle, taken, damage } = bench();
    await start();
    damage();
    damage();
    await settle();
    expect(taken()).toEqual(["compare objects: 10.96.0.1:80>10.244.1.2"]);
  });

  test("where something is new besides, only the table as a whole counts as repaired", async () => {
    const { source, start, settle, taken, damage } = bench();
    await start();
    damage();
    source.slices.put(sliceObject("web", ["10.244.1.3"]));
    await settle();
    expect(taken()).toEqual(["compare table: 10.96.0.1:80>10.244.1.3"]);
  });

  test("damage during a comparison is followed by another one", async () => {
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

  test("a comparison that fails is repeated, and changes do not hurry it", async () => {
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

  test("settings that differ call for a comparison; a Node that is gone counts as it was", async () => {
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

  test("now and then everything is compared although nothing calls for it, however much changes", async () => {
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

describe("the turn", () => {
  test("while it is another program's, nothing is programmed; then everything is compared", async () => {
    const { facts, source, start, settle, taken, damage, health } = bench();
    await start();
    facts.of(PROXY_TURN).publish({ isOurs: false });
    source.slices.put(sliceObject("web", ["10.244.1.3"]));
    damage();
    await settle();
    expect(taken()).toEqual([]);
    expect(readiness(health)).toEqual([expect.stringMatching(/^\[\+\] services: another program has the turn/)]);
    facts.of(PROXY_TURN).publish({ isOurs: true });
    await settle();
    expect(taken()).toEqual(["compare none: 10.96.0.1:80>10.244.1.3"]);
  });
});

describe("NodePorts", () => {
  const nodePort = (...extra: object[]) =>
    serviceObject("web", "10.96.0.1", {
      ...{ type: "NodePort", ports: [{ name: "http", protocol: "TCP", port: 80, nodePort: 30080 }] },
      ...Object.assign({}, ...extra),
    });
  const notification: Message = {
    ...{ type: addAddress({ index: 1, prefix: parseSubnet("192.0.2.0/24") }).type, flags: 0, sequence: 0, portId: 0 },
    payload: new Uint8Array(),
  };

  test("follow the node's addresses as they change", async () => {
    const { source, local, notify, start, settle, taken } = bench("--nodeport-addresses", "192.0.2.0/24");
    await start();
    source.services.put(nodePort());
    await settle();
    // The ClusterIP knows of the NodePort.
    expect(taken()).toEqual(["change: 10.96.0.1:80>10.244.1.2 192.0.2.1:30080>10.244.1.2"]);
    local.addresses = ["192.0.2.7"].map(parseAddress);
    notify(notification);
    await settle(20);
    expect(taken()).toEqual(["change: -192.0.2.1:30080 192.0.2.7:30080>10.244.1.2"]);
  });

  test("answer on 127.0.0.1 once it is guarded", async () => {
    const { facts, source, start, settle, taken } = bench("--nodeport-addresses", "localhost");
    await start();
    source.services.put(nodePort());
    await settle();
    expect(taken().join()).not.toContain("127.0.0.1");
    facts.of(LOOPBACK_GUARDED).publish(true);
    await settle();
    expect(taken()).toEqual(["change: 127.0.0.1:30080>10.244.1.2"]);
  });

  test("the API server's own address is no frontend", async () => {
    const { source, start, settle, taken } = bench();
    await start();
    source.services.put(
      serviceObject("thief", "10.96.0.9", {
        externalIPs: ["192.0.2.250", "192.0.2.251"],
        ports: [{ name: "https", protocol: "TCP", port: 6443 }],
      }),
    );
    await settle();
    expect(taken()).toEqual(["change: 10.96.0.9:6443> 192.0.2.251:6443>"]);
  });
});

test("/debug/services shows each Service, and one by its name", async () => {
  const { controller, start } = bench();
  await start();
  expect(controller.pages.services?.(new URLSearchParams("service=default/web"))).toMatchObject({
    state: {
      mode: "nftables",
      isOurs: true,
      isSynced: true,
      doubts: [],
      counts: { services: 1, frontends: 1, endpoints: 1 },
    },
    node: { name: "n1", zone: "a", nodePortAddresses: ["192.0.2.1"], externalIPs: "all", localPods: ["10.244.1.0/24"] },
    services: [
      {
        service: "default/web",
        type: "ClusterIP",
        frontends: [
          {
            ...{
              kind: "ClusterIP",
              address: "10.96.0.1",
              protocol: "TCP",
              port: 80,
              portName: "http",
              policy: "internal",
            },
            endpoints: ["10.244.1.2:8080"],
          },
        ],
        endpoints: [{ target: "10.244.1.2:8080", protocol: "TCP", isUsed: true, verdict: "used" }],
      },
    ],
  });
  expect(controller.pages.services?.(new URLSearchParams("namespace=other"))).toMatchObject({ services: [] });
});

test("metrics tell how much is served, and how long it took", async () => {
  const { metrics, start } = bench();
  await start();
  const text = await metrics.text();
  expect(text).toContain("weft_services 1");
  expect(text).toContain('weft_service_frontends{kind="ClusterIP"} 1');
  expect(text).toContain('weft_service_sync_duration_seconds_count{kind="full",result="success"} 1');
  expect(text).toContain("weft_service_transactions_total 1");
  expect(text).toContain("weft_service_requests_total 2");
});
