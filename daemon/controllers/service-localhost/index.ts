/** NodePorts on localhost. */
import { IPPROTO_TCP, IPPROTO_UDP } from "../../../pkg/kernel/connection-selector.ts";
import { runnable } from "../../core/controller-pass.ts";
import { Topic } from "../../core/topic.ts";
import type { ControllerFactory } from "../context.ts";
import { SERVICES_PROGRAMMED } from "../facts.ts";
import { LocalhostController } from "./localhost.ts";
import { LoopbackController } from "./loopback.ts";
import { openTcpForwarder } from "./tcp-forwarder.ts";
import { openUdpForwarder } from "./udp-forwarder.ts";

/** NodePorts on 127.0.0.1. Also runs without Services, to revert what an earlier weftd has set. */
export const serviceLoopback: ControllerFactory = (context) => {
  const { options, facts, kernel, files, health, log, drivers } = context;
  const settingChange = new Topic("setting");
  const controller = new LoopbackController({
    isWanted: options.serviceProxy !== "none" && options.nodeportAddresses.hasLocalhost,
    ...{ facts, nftables: kernel.nftables, files, settingChange, health, log },
    settingWatch: context.watchSettings(settingChange),
  });
  return runnable(controller, { drivers, gate: context.newGate() });
};

/** NodePorts on ::1. */
export const serviceLocalhost: ControllerFactory = ({ options, facts, events, health, log }) =>
  options.serviceProxy === "none" || !options.nodeportAddresses.hasLocalhost
    ? undefined
    : new LocalhostController({
        ...{ events, health, log, programmed: facts.of(SERVICES_PROGRAMMED) },
        open: { [IPPROTO_TCP]: openTcpForwarder, [IPPROTO_UDP]: openUdpForwarder },
      });
