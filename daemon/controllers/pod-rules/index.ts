/** The rules of single attachments. */
import { News } from "../../core/news.ts";
import type { ControllerFactory } from "../context.ts";
import { podRulesController } from "./keep-pod-rules.ts";

export const podRules: ControllerFactory = ({ clock, netlink, nftables, bases, health, log, ownFiles, newGate }) =>
  podRulesController({
    ...{ clock, netlink, nftables, bases, health, log, files: ownFiles },
    news: new News(),
    gate: newGate(),
  });
