/** Creates the controller for this node's pods from weftd's parts. */
import { runnable } from "../../core/controller-pass.ts";
import { execute } from "../../core/drivers/execute.ts";
import { Topic } from "../../core/topic.ts";
import type { ControllerFactory } from "../context.ts";
import { AttachController } from "./attach.ts";
import { removeFlannelRules } from "./flannel-leftovers.ts";
import { OutsidePods } from "./outside-pods.ts";
import { ownExecutable, PluginTrial } from "./plugin-trial.ts";
import { RuntimeOffer } from "./runtime-offer.ts";

export const attach: ControllerFactory = (context) => {
  const { options, facts, files, health, metrics, events, log, drivers } = context;
  const { programmer, nftables } = context.kernel;
  const { cniConfDir, nodeName } = options;
  const settingChange = new Topic("setting");
  const contention = context.newGate();
  const controller = new AttachController({
    ...{ options, facts, programmer, contention, files, settingChange, health, metrics, log },
    settingWatch: context.watchSettings(settingChange),
    offer: new RuntimeOffer({
      ...{ cniConfDir, health, events, log },
      trial: new PluginTrial(ownExecutable()),
      removeFlannelRules: () => removeFlannelRules({ nftables, files, execute }),
    }),
    outsidePods: new OutsidePods({ nodeName, health, events, log }),
  });
  metrics.countAddresses(() => controller.addressUse());
  return runnable(controller, { drivers, gate: contention });
};
