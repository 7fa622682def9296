/** Creates the controller for routes of a host outside the cluster from weftd's parts. */
import { runnable } from "../../core/controller-pass.ts";
import type { ControllerFactory } from "../context.ts";
import { OutsideController } from "./outside.ts";

export const outside: ControllerFactory = (context) => {
  const { options, cluster, sources, health, log, drivers } = context;
  if (options.pods || cluster.services === undefined) return undefined;
  const controller = new OutsideController({
    ...{ options, health, log, view: sources.view, nodes: sources.nodes, cidrs: cluster.services.cidrs },
  });
  return runnable(controller, { drivers, gate: context.newGate() });
};
