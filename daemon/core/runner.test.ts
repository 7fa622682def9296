import { expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { deleteLink } from "../../pkg/kernel/link.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import type { Message } from "../../pkg/netlink/message.ts";
import type { Pass, Runnable } from "./controller.ts";
import { HANGING_MS } from "./controller-state.ts";
import { toJson } from "./debug-json.ts";
import { Health } from "./health.ts";
import type { Logger } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { Runner } from "./runner.ts";
import { serveStatus } from "./status-server.ts";
import { Fact, Topic } from "./topic.ts";

const OWN_TABLE = { family: 1, table: "weft-services" };

const settled = () => new Promise((resolve) => setImmediate(resolve));
const EMPTY: KernelSnapshot = { links: [], addresses: [], routes: [], neighbours: [], forwarding: [] };
const { type, body } = deleteLink(7);
const notification: Message = { type, flags: 0, sequence: 0, portId: 0, payload: body };

function bench() {
  const clock = new ManualClock();
  clock.chance = 1;
  const health = new Health(clock);
  const metrics = new Metrics();
  const warned: string[] = [];
  const log = { warn: (_fields: unknown, text: string) => warned.push(text) } as unknown as Logger;
  let passEnds = 0;
  const runner = new Runner({
    ...{ clock, metrics, log },
    kernel: { snapshot: async () => ({ state: EMPTY, port: 77 }) },
    onPassEnd: () => {
      passEnds += 1;
    },
  });
  health.shows(() => runner.reports());
  metrics.shows(() => runner.reports());
  const advance = async (ms: number) => {
    for (let left = ms; left > 0; left -= 10) {
      clock.advance(Math.min(10, left));
      await settled();
    }
  };
  return { clock, health, metrics, runner, warned, advance, passEnds: () => passEnds };
}

/** A controller that repairs at each notification, with the reasons of its passes. */
function repairing(name = "repairing", topics: Topic[] = []) {
  const passes: (readonly string[])[] = [];
  const controller: Runnable = {
    name,
    subscriptions: { topics, reasonFor: () => ({ reason: "link", isPatient: true }), intervalMs: 60_000 },
    run: async ({ reasons }: Pass) => {
      passes.push(reasons);
    },
  };
  return { controller, passes };
}

const failing: Runnable = {
  name: "failing",
  subscriptions: { atStart: true },
  run: () => Promise.reject(new Error("no such device")),
};
const hanging: Runnable = {
  name: "hanging",
  subscriptions: { atStart: true, reasonFor: () => ({ reason: "link", isPatient: true }) },
  run: () => new Promise(() => undefined),
};

test("a controller that throws and one that hangs do not delay the others", async () => {
  const { runner, advance } = bench();
  const { controller, passes } = repairing();
  for (const one of [failing, hanging, controller]) runner.start(one);
  await advance(HANGING_MS);
  for (let damage = 1; damage <= 3; damage++) {
    runner.notified(notification);
    await advance(10);
    expect(passes).toHaveLength(damage);
  }
});

test("the state of each controller is shown in /readyz, /debug/state and /metrics", async () => {
  const { runner, health, metrics, advance } = bench();
  const { controller } = repairing();
  for (const one of [failing, hanging, controller]) runner.start(one);
  runner.notified(notification);
  await advance(HANGING_MS + 10);
  const debugState = async () => toJson(await runner.debugState());
  const server = await serveStatus({ host: "127.0.0.1", port: 0 }, { health, metrics, debugState });
  const get = async (path: string) => (await fetch(`http://127.0.0.1:${server.port}${path}`)).text();
  const readyz = await get("/readyz");
  expect(readyz).toMatch(/\[!\] controller failing: failing: no such device; next attempt in \d+\.\d seconds\n/);
  expect(readyz).toMatch(/\[!\] controller hanging: hanging: a pass has been running for 30\.0 seconds\n/);
  expect(readyz).toMatch(/\[\+\] controller repairing: idle, 1 passes, last 30\.0 seconds ago in 0 ms\n/);
  const { controllers } = JSON.parse(await get("/debug/state")) as { controllers: object[] };
  expect(controllers).toMatchObject([
    { name: "failing", status: "failing", passes: { success: 0 }, lastError: "no such device" },
    { name: "hanging", status: "hanging", passes: { success: 0, failure: 0 }, runningMs: expect.any(Number) },
    { name: "repairing", status: "idle", passes: { success: 1, failure: 0 }, lastPass: { reasons: ["link"] } },
  ]);
  const exposition = await get("/metrics");
  expect(exposition).toContain('weft_controller_state{controller="failing",state="failing"} 1');
  expect(exposition).toContain('weft_controller_state{controller="hanging",state="hanging"} 1');
  expect(exposition).toContain('weft_controller_state{controller="hanging",state="running"} 0');
  expect(exposition).toContain('weft_controller_passes_total{controller="repairing",result="success"} 1');
  expect(exposition).toContain('weft_controller_passes_total{controller="hanging",result="failure"} 0');
  expect(exposition).toContain('weft_controller_pass_seconds_count{controller="repairing"} 1');
  await server.close();
});

test("a pass of more than a minute makes the process unhealthy", async () => {
  const { runner, health, advance } = bench();
  runner.start(hanging);
  await advance(59_000);
  expect(health.liveness().isGood).toBe(true);
  await advance(1010);
  expect(health.liveness().text).toContain("[-] pass: running for 60.0 seconds");
});

test("each controller retries a failed pass with its own back-off and reports its recovery", async () => {
  const { clock, runner, advance, warned } = bench();
  const startsMs: number[] = [];
  let isBroken = true;
  runner.start({
    name: "mending",
    subscriptions: { atStart: true },
    run: async () => {
      startsMs.push(clock.nowMs());
      if (isBroken) throw new Error("not yet");
    },
  });
  await advance(1600);
  expect(startsMs.map((ms) => Math.round(ms / 10) * 10)).toEqual([0, 110, 310, 710, 1510]);
  expect(warned).toHaveLength(5);
  expect(runner.reports()).toMatchObject([{ status: "failing", nextAttemptMs: expect.any(Number) }]);
  isBroken = false;
  await advance(1600);
  const [report] = runner.reports();
  expect(report).toMatchObject({ status: "idle", passes: { success: 1, failure: 5 } });
  expect(report).not.toHaveProperty("lastError");
});

test("sources and facts trigger passes of their subscribers, and a burst triggers one", async () => {
  const { runner, advance, passEnds } = bench();
  const nodes = new Topic("nodes");
  const fact = new Fact<{ readonly mtu: number }>("mtu");
  const one = repairing("one", [nodes]);
  const both = repairing("both", [nodes, fact]);
  runner.start(one.controller);
  runner.start(both.controller);
  nodes.notify();
  nodes.notify();
  fact.publish({ mtu: 1450 });
  await advance(10);
  fact.publish({ mtu: 1450 });
  await advance(10);
  expect([one.passes, both.passes]).toEqual([[["nodes"]], [["nodes", "mtu"]]]);
  fact.publish({ mtu: 1400 });
  await advance(10);
  expect([one.passes.length, both.passes.length, passEnds()]).toEqual([1, 2, 3]);
});

test("lost and unreadable notifications trigger passes of the controllers that listen to the kernel", async () => {
  const { runner, advance } = bench();
  const { controller, passes } = repairing();
  const deaf: string[] = [];
  runner.start(controller);
  runner.start({ name: "deaf", subscriptions: {}, run: async () => void deaf.push("pass") });
  runner.overrun();
  await advance(10);
  runner.notifiedUnreadable();
  await advance(20);
  expect([passes, deaf]).toEqual([[["notifications were lost"], ["unreadable notification"]], []]);
});

test("a pass can request the next one, and the interval counts from the end of a success", async () => {
  const { runner, advance } = bench();
  const reasons: string[] = [];
  runner.start({
    name: "asking",
    subscriptions: { atStart: true, intervalMs: 1000 },
    run: async (pass) => {
      reasons.push(pass.reasons.join());
      if (reasons.length === 1) pass.later("old entries may go", 300);
    },
  });
  await advance(400);
  expect(reasons).toEqual(["start", "old entries may go"]);
  await advance(1000);
  expect(reasons).toEqual(["start", "old entries may go", "interval"]);
});

test("stop waits for running passes, but only some seconds for one that hangs", async () => {
  const { runner, advance, warned } = bench();
  let end: () => void = () => undefined;
  let isStopped = false;
  runner.start(hanging);
  runner.start({
    name: "slow",
    subscriptions: { atStart: true },
    run: () =>
      new Promise<void>((resolve) => {
        end = resolve;
      }),
    stop: () => {
      isStopped = true;
    },
  });
  await advance(10);
  let isOver = false;
  const stopping = runner.stop().then(() => {
    isOver = true;
  });
  expect(isStopped).toBe(true);
  end();
  await advance(4900);
  expect(isOver).toBe(false);
  await advance(200);
  await stopping;
  expect(warned).toEqual(["a pass does not end; stopping without waiting for it"]);
});

test("/debug/state has the states of all controllers even if debug of one fails", async () => {
  const { runner } = bench();
  const debug = () => Promise.reject(new Error("the kernel does not answer"));
  runner.start({ name: "mute", subscriptions: {}, run: async () => undefined, debug });
  expect(await runner.debugState()).toMatchObject({
    mute: { error: "the kernel does not answer" },
    controllers: [{ name: "mute", status: "idle" }],
  });
});

test("a controller that fails to stop does not keep weftd from stopping", async () => {
  const { runner, warned } = bench();
  const stop = () => {
    throw new Error("it is gone");
  };
  runner.start({ name: "throwing", subscriptions: {}, run: async () => undefined, stop });
  await runner.stop();
  expect(warned).toEqual(["a controller failed to stop; stopping without it"]);
});

test("a second controller of the same name is refused", () => {
  const { runner } = bench();
  runner.start(failing);
  expect(() => runner.start({ ...hanging, name: "failing" })).toThrow("two controllers are named failing");
});

test("a change of a controller's own table triggers a pass of that controller only", async () => {
  const { runner, advance } = bench();
  const { controller, passes } = repairing("other");
  const reasons: (readonly string[])[] = [];
  runner.start(controller);
  runner.start({
    name: "owner",
    subscriptions: { ownTable: { place: OWN_TABLE, onChange: () => ({ delayMs: 5 }) } },
    run: async (pass) => void reasons.push(pass.reasons),
  });
  expect(runner.ownTables()).toEqual([OWN_TABLE]);
  runner.tableChanged({ family: 1, table: "weft" });
  runner.tableChanged({ ...OWN_TABLE });
  runner.tableChanged({ ...OWN_TABLE });
  await advance(20);
  expect(reasons).toEqual([["table inet weft-services"]]);
  expect(passes).toEqual([]);
});

test("a controller's page is found by its name, and other names have no page", () => {
  const { runner } = bench();
  const pages = { services: (query: URLSearchParams) => [`asked for ${query.get("service")}`] };
  runner.start({ ...repairing().controller, pages });
  expect(runner.debugPage("services", new URLSearchParams("service=a/b"))).toEqual(["asked for a/b"]);
  for (const name of ["peers", "toString", ""]) expect(runner.debugPage(name, new URLSearchParams())).toBeUndefined();
});
