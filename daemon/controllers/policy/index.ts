/** Creates the controller of NetworkPolicies from weftd's parts. */
import { POLICY_SOCKET_FILE } from "../../../pkg/footprint.ts";
import { NftablesPolicies } from "../../../pkg/policy/nftables/nftables-policies.ts";
import { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import type { ControllerFactory } from "../context.ts";
import { FORMER_FLOWS } from "../facts.ts";
import { AttachServer } from "./attach-server.ts";
import { LogProbe } from "./log-probe.ts";
import { PolicyController } from "./policy.ts";
import { policyOff } from "./policy-off.ts";
import { PolicyProgrammer } from "./policy-programmer.ts";
import { RunningPods } from "./running-pods.ts";

export const policy: ControllerFactory = async (context) => {
  const { options, cluster, kernel, files, clock, log, health, metrics, facts, sources } = context;
  const { announcer, policies: source } = cluster;
  const { nodeName, runDir } = options;
  const { nftables, programmer: commits } = kernel;
  const gate = context.newGate();
  const programmer = new PolicyProgrammer({
    program: new NftablesPolicies(),
    nftables,
    programmer: commits,
    gate,
    log,
  });
  if (!options.pods) return undefined;
  if (source === undefined) {
    const reason = options.nodes === undefined ? "flag" : "a file of nodes has no NetworkPolicies";
    return policyOff({ reason, programmer, announcer, facts, log });
  }
  const controller = new PolicyController({
    ...{ options, source, announcer, programmer, gate, facts, health, clock, log },
    ...{ view: sources.view, nodes: sources.nodes, registry: metrics.registry },
    map: new PolicyMap(nodeName),
    running: new RunningPods({ nodeName, pods: source.pods, files }),
    logProbe: new LogProbe(commits),
    onStop: () => server.stop(),
  });
  const server = new AttachServer({
    ...{ path: `${runDir}/${POLICY_SOCKET_FILE}`, installer: controller.installer, clock, log, metrics },
    flows: { attached: async (...attachment) => facts.of(FORMER_FLOWS).value?.attached(...attachment) },
  });
  await server.start();
  return controller;
};
