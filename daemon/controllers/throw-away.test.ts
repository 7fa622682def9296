/**
 * Shows that a new concern is one folder and one line: this controller knows the core's contract and no other
 * controller. It maintains a file, and a route for each subnet that its own source lists.
 */
import { mkdtempSync, readFileSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Gauge } from "prom-client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SYSTEM_CLOCK } from "../../pkg/cluster/clock.ts";
import { formatPrefix, type Prefix, parseSubnet } from "../../pkg/ip/prefix.ts";
import { addRoute, type ObservedRoute, parseRoute } from "../../pkg/kernel/route.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import type { Message, Request } from "../../pkg/netlink/message.ts";
import { fileStep, requestStep } from "../../pkg/reconcile/plan-step.ts";
import { RepairGate } from "../../pkg/reconcile/repair-gate.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import type { Controller, Runnable } from "../core/controller.ts";
import { runnable } from "../core/controller-pass.ts";
import { Drivers } from "../core/drivers/drivers.ts";
import { ProcessDriver } from "../core/drivers/processes.ts";
import { Health } from "../core/health.ts";
import { openLog } from "../core/log.ts";
import { Metrics } from "../core/metrics.ts";
import { Runner } from "../core/runner.ts";
import { SharedKernel } from "../core/shared-kernel.ts";
import { Topic } from "../core/topic.ts";
import type { ControllerContext } from "./context.ts";

type Context = Pick<ControllerContext, "drivers" | "newGate" | "metrics" | "health">;

/** The source of the controller's objects. */
class Subnets extends Topic {
  all: readonly Prefix[] = [];
}

/** The complete new controller. */
const subnetRoutes =
  (subnets: Subnets, path: string) =>
  (context: Context): Runnable => {
    const count = new Gauge({
      ...{ name: "weft_subnet_routes", help: "Subnets that have a route." },
      registers: [context.metrics.registry],
    });
    const controller: Controller<readonly Prefix[], readonly ObservedRoute[]> = {
      name: "subnet-routes",
      subscriptions: {
        topics: [subnets],
        reasonFor: (message) => (parseRoute(message) === undefined ? undefined : { reason: "route", isPatient: true }),
        intervalMs: 50,
      },
      desired: () => subnets.all,
      observe: async (kernel) => (await kernel.snapshot()).state.routes,
      plan: (wanted, held) => {
        const isHeld = (subnet: Prefix) =>
          held.some(({ destination }) => formatPrefix(destination) === formatPrefix(subnet));
        const missing = wanted.filter((subnet) => !isHeld(subnet));
        return {
          steps: [
            fileStep(path, wanted.map((subnet) => `${formatPrefix(subnet)}\n`).join("")),
            ...missing.map((destination) => requestStep(addRoute({ destination }))),
          ],
        };
      },
      settled: (_pass, { desired }) => {
        count.set(desired.length);
        context.health.warns("subnets", desired.length < 2 ? ["fewer than two subnets"] : []);
      },
    };
    return runnable(controller, { drivers: context.drivers, gate: context.newGate() });
  };

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-throw-away-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("a controller in a folder of its own runs, repairs and is shown, while another fails and another hangs", async () => {
  const clock = SYSTEM_CLOCK;
  const log = openLog("fatal", "n1");
  let routes: readonly Request[] = [];
  let dumps = 0;
  const state = (): KernelSnapshot => ({
    ...{ links: [], addresses: [], neighbours: [], forwarding: [] },
    routes: routes.flatMap((request) => parseRoute(asMessage(request)) ?? []),
  });
  const kernel = new SharedKernel(async () => {
    dumps += 1;
    return { state: state(), port: 7 };
  }, clock);
  const send = async (requests: readonly Request[]) => {
    kernel.changed();
    routes = [...routes, ...requests];
    return [];
  };
  const drivers = new Drivers({
    kernel: { send, commit: async () => undefined },
    settings: new FakeFiles(),
    processes: new ProcessDriver({ clock, log, onTrouble: () => undefined }),
  });
  const newGate = () => new RepairGate(clock, { onRepair: () => undefined, onContention: () => undefined });
  const metrics = new Metrics();
  const health = new Health(clock);
  const runner = new Runner({ clock, kernel, metrics, log });
  health.shows(() => runner.reports());

  const subnets = new Subnets("subnets");
  const path = join(folder, "made", "subnets");
  const failing: Runnable = {
    name: "failing",
    subscriptions: { topics: [subnets] },
    run: () => Promise.reject(new Error("never")),
  };
  const hanging: Runnable = { ...failing, name: "hanging", run: () => new Promise(() => undefined) };
  const controllers = [() => failing, () => hanging, subnetRoutes(subnets, path)];
  for (const controller of controllers) runner.start(controller({ drivers, newGate, metrics, health }));

  const held = () => state().routes.map(({ destination }) => formatPrefix(destination));
  const eventually = (check: () => void) => vi.waitFor(check, { timeout: 5000, interval: 5 });
  subnets.all = [parseSubnet("10.1.0.0/24"), parseSubnet("10.2.0.0/24")];
  subnets.notify();
  await eventually(() => expect(held()).toEqual(["10.1.0.0/24", "10.2.0.0/24"]));
  expect(readFileSync(path, "utf8")).toBe("10.1.0.0/24\n10.2.0.0/24\n");

  // A route that another program removes is announced and restored at once.
  const [lost, kept] = routes;
  if (lost === undefined || kept === undefined) throw new Error("two routes");
  routes = [kept];
  kernel.changed();
  const damagedMs = clock.nowMs();
  runner.notified(asMessage(lost));
  await eventually(() => expect(held()).toHaveLength(2));
  expect(clock.nowMs() - damagedMs).toBeLessThan(1000);
  // The changed file is found at the next interval.
  unlinkSync(path);
  await eventually(() => expect(readFileSync(path, "utf8")).toContain("10.2.0.0/24"));

  expect(dumps).toBeGreaterThan(1);
  const lines = health.readiness().text;
  expect(lines).toMatch(/\[\+\] controller subnet-routes: (idle|running), \d+ passes/);
  expect(lines).toContain("[!] controller failing: failing: never");
  expect(lines).toContain("controller hanging: running");
  expect(await metrics.text()).toMatch(
    /weft_controller_passes_total\{controller="subnet-routes",result="success"\} \d/,
  );
  expect(await metrics.text()).toContain("weft_subnet_routes 2");
  subnets.all = subnets.all.slice(1);
  subnets.notify();
  await eventually(() => expect(health.readiness().text).toContain("[!] subnets: fewer than two subnets"));
  const { controllers: shown } = await runner.debugState();
  expect(shown).toMatchObject([{ name: "failing" }, { name: "hanging" }, { name: "subnet-routes" }]);
  // Not until the end of a pass, since the hanging one never ends. Running passes of other controllers have ended by
  // then.
  await Promise.race([runner.stop(), new Promise((resolve) => setTimeout(resolve, 200))]);
});

function asMessage({ type, body }: Request): Message {
  return { type, flags: 0, sequence: 0, portId: 0, payload: body };
}
