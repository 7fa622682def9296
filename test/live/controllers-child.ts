/**
 * weftd with three additional controllers: one throws, one hangs, and one maintains a file and a route. Each is a
 * function in a list, without any change to weftd.
 */
import { join } from "node:path";
import type { ControllerFactory } from "../../daemon/controllers/context.ts";
import type { Controller } from "../../daemon/core/controller.ts";
import { runnable } from "../../daemon/core/controller-pass.ts";
import { openLog } from "../../daemon/core/log.ts";
import type { Observation } from "../../daemon/core/shared-kernel.ts";
import { parseOptions } from "../../daemon/options.ts";
import { CONTROLLERS, runWeftd } from "../../daemon/weftd.ts";
import { isSamePrefix, parseSubnet } from "../../pkg/ip/prefix.ts";
import { addRoute, parseRoute } from "../../pkg/kernel/route.ts";
import { fileStep, processStep, requestStep } from "../../pkg/reconcile/plan-step.ts";

const DESTINATION = parseSubnet("198.51.100.0/24");
const PROTOCOL = 99;

const throwing: ControllerFactory = ({ sources }) => ({
  name: "throwing",
  subscriptions: { topics: [sources.nodes] },
  run: () => Promise.reject(new Error("it never works")),
});

const hanging: ControllerFactory = ({ sources }) => ({
  name: "hanging",
  subscriptions: { topics: [sources.nodes] },
  run: () => new Promise(() => undefined),
});

/** Subscribes to Nodes and to the kernel's routes. */
const keeping: ControllerFactory = ({ sources, drivers, newGate, options }) => {
  const controller: Controller<readonly string[], Observation> = {
    name: "keeping",
    subscriptions: {
      topics: [sources.nodes],
      reasonFor: (message) =>
        parseRoute(message)?.protocol === PROTOCOL ? { reason: "route", isPatient: true } : undefined,
    },
    desired: () => (sources.view.isSynced ? sources.view.peers.map(({ name }) => name) : undefined),
    observe: (kernel) => kernel.snapshot(),
    plan: (names, { state }) => {
      const index = state.links.find(({ name }) => name === "eth0")?.index ?? 0;
      const isHeld = state.routes.some(({ destination }) => isSamePrefix(destination, DESTINATION));
      const route = addRoute({ destination: DESTINATION, outputIndex: index, protocol: PROTOCOL });
      return {
        steps: [
          fileStep(join(options.runDir, "peers"), names.join("\n"), 0o600),
          ...(isHeld ? [] : [requestStep(route)]),
          processStep("sleeper", ["sleep", "1000"]),
        ],
      };
    },
  };
  return runnable(controller, { drivers, gate: newGate() });
};

const options = parseOptions(process.argv.slice(2));
const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());
const log = openLog(options.logLevel, options.nodeName);
await runWeftd(options, log, stopping.signal, [throwing, hanging, keeping, ...CONTROLLERS]);
log.info("stopped");
// The hanging pass keeps the process alive through what it waits for.
process.exit(0);
