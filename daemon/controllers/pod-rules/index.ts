/** The controller for the rules of single attachments. */
import { LastReports } from "../../core/last-reports.ts";
import type { ControllerFactory } from "../context.ts";
import { podRulesController } from "./keep-pod-rules.ts";

export const podRules: ControllerFactory = ({ clock, kernel, health, log, ownFiles, newGate }) =>
  podRulesController({
    ...{ clock, health, log, netlink: kernel.netlink, nftables: kernel.nftables, bases: kernel.bases, files: ownFiles },
    reports: new LastReports(),
    gate: newGate(),
  });
