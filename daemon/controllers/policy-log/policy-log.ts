/**
 * Receives the kernel's log of denied packets while policies are in force. The group has one receiver: if another
 * program has it, weftd tries again with back-off.
 */
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventNetlinkSocket } from "../../../pkg/sys/event-netlink.ts";
import type { Runnable } from "../../core/controller.ts";
import type { Logger } from "../../core/log.ts";
import { listenToPacketLog } from "../../core/packet-log.ts";
import { type Fact, Topic } from "../../core/topic.ts";
import type { PolicyState } from "../facts.ts";
import type { DenyLog } from "./deny-log.ts";

/** The group may be that of another weftd that is ending, or of an operator who looks at denied packets. */
const BACKOFF = { initialMs: 1000, maxMs: 60_000 };

export interface PolicyLogParts {
  readonly log: Pick<Logger, "warn">;
  readonly group: number;
  readonly state: Fact<PolicyState>;
  readonly denyLog: Pick<DenyLog, "onPacket" | "onLoss" | "stop">;
  open(): EventNetlinkSocket;
}

export function policyLogController({ log, group, state, denyLog, open }: PolicyLogParts): Runnable {
  let socket: EventNetlinkSocket | undefined;
  const broken = new Topic("a broken socket");
  let isAbsent = false;
  let hasStopped = false;
  const close = () => {
    socket?.close();
    socket = undefined;
  };
  const bind = async () => {
    const opened = open();
    socket = opened;
    const onBroken = (error: Error) => {
      if (socket !== opened) return;
      close();
      log.warn({ err: error }, "the socket for denied packets broke; opening another one");
      broken.notify({ delayMs: BACKOFF.initialMs });
    };
    try {
      await listenToPacketLog(opened, group, {
        onPacket: (packet) => denyLog.onPacket(packet),
        onLoss: () => denyLog.onLoss(),
        onBroken,
      });
    } catch (error) {
      close();
      if (!isNetlinkError(error, "EINVAL")) throw error;
      isAbsent = true;
      log.warn({ err: error }, "the kernel has no nfnetlink_log; denied packets are counted, but not logged");
    }
  };
  return {
    name: "policy-log",
    subscriptions: { topics: [state, broken] },
    retry: { backoff: BACKOFF },
    run: async () => {
      const mode = state.value?.mode ?? "off";
      if (mode === "off" || hasStopped) return close();
      if (socket === undefined && !isAbsent) await bind();
    },
    stop: () => {
      hasStopped = true;
      close();
      denyLog.stop();
    },
  };
}
