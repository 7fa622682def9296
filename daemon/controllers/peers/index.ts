/** Creates the controller for routes to other nodes from weftd's parts. */
import { runnable } from "../../core/controller-pass.ts";
import { readConflistFolder } from "../../sources/conflist-folder.ts";
import type { ControllerFactory } from "../context.ts";
import { debugState } from "./debug-state.ts";
import { PeersController } from "./peers.ts";
import { RunFiles } from "./run-files.ts";

export const peers: ControllerFactory = async (context) => {
  const { options, sources, facts, cluster, files, events, health, metrics, log, clock, drivers } = context;
  const controller = new PeersController({
    ...{ options, sources, facts, files, events, health, metrics, log, clock },
    onMove: () => cluster.reconnect(),
    conflists: () => readConflistFolder(options.cniConfDir),
    announcer: cluster.announcer,
    runFiles: await RunFiles.open(options.runDir),
  });
  return {
    ...runnable(controller, { drivers, gate: context.newGate() }),
    debug: async (kernel) => debugState(controller.target, (await kernel.snapshot()).state, health.readiness().text),
  };
};
