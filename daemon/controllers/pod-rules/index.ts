/** The rules of single attachments. */
import { News } from "../../core/news.ts";
import type { ControllerFactory } from "../context.ts";
import { podRulesController } from "./keep-pod-rules.ts";

export const podRules: ControllerFactory = ({ clock, kernel, health, log, ownFiles, newGate }) =>
  podRulesController({
    ...{ clock, health, log, netlink: kernel.netlink, nftables: kernel.nftables, bases: kernel.bases, files: ownFiles },
    news: new News(),
    gate: newGate(),
  });
