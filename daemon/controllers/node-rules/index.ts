/** Creates the controllers for kernel settings and rules from weftd's parts. */

import { runnable } from "../../core/controller-pass.ts";
import { execute } from "../../core/drivers/execute.ts";
import { LastReports } from "../../core/last-reports.ts";
import { Topic } from "../../core/topic.ts";
import { readConflistFolder } from "../../sources/conflist-folder.ts";
import type { ControllerFactory } from "../context.ts";
import { Firewall } from "./firewall.ts";
import { FirewallController } from "./firewall-controller.ts";
import { LegacyForward } from "./legacy-forward.ts";
import { NodeRulesController } from "./node-rules.ts";

/** Settings and iptables-legacy. */
export const nodeRules: ControllerFactory = (context) => {
  const { options, facts, files, clock, health, log, drivers } = context;
  const settingChange = new Topic("setting");
  const controller = new NodeRulesController({
    ...{ options, facts, files, settingChange, health, log },
    conflists: () => readConflistFolder(options.cniConfDir),
    settingWatch: context.watchSettings(settingChange),
    legacyForward: new LegacyForward({ files, execute, clock }),
  });
  return runnable(controller, { drivers, gate: context.newGate() });
};

/** nftables. */
export const firewall: ControllerFactory = ({
  options,
  facts,
  clock,
  kernel,
  health,
  metrics,
  events,
  log,
  newGate,
}) => {
  const gate = newGate();
  const reports = new LastReports();
  const rules = new Firewall({
    ...{ clock, gate, programmer: kernel.programmer },
    onBlocked: (reasons) => {
      health.warns("forwarding", reasons);
      const message = reasons.join("; ");
      if (!reports.isNew("forwarding", message) || message === "") return;
      log.warn({ reasons }, "another program's chain may drop pods' packets");
      events.report({ type: "Warning", reason: "ForwardingBlocked", message });
    },
  });
  return new FirewallController({ options, facts, firewall: rules, gate, health, metrics, log });
};
