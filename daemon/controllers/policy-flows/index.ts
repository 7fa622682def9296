/** Flows that policies do not allow: cut, or listed by /debug/policy-preview. */
import { addressDump, parseLinkAddress } from "../../../pkg/kernel/address.ts";
import { connectionDump } from "../../../pkg/kernel/connection-selector.ts";
import { Flow } from "../../../pkg/kernel/flow.ts";
import { FlowCleaner } from "../../core/drivers/flow-cleaner.ts";
import type { ControllerFactory } from "../context.ts";
import { POLICY_PROGRAMMED, POLICY_STATE } from "../facts.ts";
import { CutConnections } from "./cut-connections.ts";
import { cutFlowsCounter } from "./cut-flows-counter.ts";
import { policyFlowsController } from "./policy-flows.ts";
import { previewPage } from "./preview-page.ts";
import { StartTimes } from "./start-times.ts";

export const policyFlows: ControllerFactory = ({ options, clock, log, kernel, files, metrics, facts }) => {
  const [state, programmed] = [facts.of(POLICY_STATE), facts.of(POLICY_PROGRAMMED)];
  const deleted = cutFlowsCounter(metrics.registry);
  const ownAddresses = async () =>
    (await kernel.netlink.dump(addressDump())).flatMap((message) => parseLinkAddress(message)?.prefix.address ?? []);
  const eachFlow = async (look: (flow: Flow) => void) => {
    for (const family of [4, 6] as const) {
      await kernel.connections.dump(connectionDump({ family }), (message) => {
        const flow = Flow.read(message);
        if (flow !== undefined) look(flow);
        return false;
      });
    }
  };
  const preview = {
    programmed: () => programmed.value,
    mode: () => state.value?.mode ?? "off",
    ownAddresses,
    eachFlow,
  };
  return policyFlowsController({
    ...{ clock, log, state, programmed, ownAddresses },
    cleaner: new FlowCleaner(kernel.connections),
    cutConnections: new CutConnections({ programmer: kernel.programmer, log }),
    startTimes: new StartTimes({ files, clock, timeOfDayMs: () => Date.now() }),
    cutsEstablished: options.policyCutEstablished,
    count: (flows) => deleted.inc(flows),
    asyncPages: { "policy-preview": () => previewPage(preview) },
  });
};
