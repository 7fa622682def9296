/** Tests the checksum offload of the VXLAN devices that `peers` has programmed. */
import type { Runnable } from "../../core/controller.ts";
import type { Facts } from "../../core/topic.ts";
import type { ControllerFactory } from "../context.ts";
import { GUARDED_DEVICES } from "../facts.ts";
import { ChecksumGuard } from "./checksum-guard.ts";
import { isPortUnreachable } from "./port-probe.ts";
import { VtepOffload } from "./vtep-offload.ts";

const FULL_COMPARISON_MS = 60_000;

export function checksumController(guard: Pick<ChecksumGuard, "watch" | "stop">, facts: Facts): Runnable {
  const devices = facts.of(GUARDED_DEVICES);
  return {
    name: "checksum",
    subscriptions: { topics: [devices], intervalMs: FULL_COMPARISON_MS },
    // Silent peers cost half a minute per device. A pass that waited for them would look as if it hung.
    run: async () => guard.watch(devices.value ?? []),
    stop: () => guard.stop(),
  };
}

export const checksum: ControllerFactory = ({ kernel, clock, metrics, log, events, facts }) =>
  checksumController(
    new ChecksumGuard({
      offload: new VtepOffload(kernel.generic),
      probe: isPortUnreachable,
      ...{ clock, metrics, log },
      onBroken: (message) => events.report({ type: "Warning", reason: "ChecksumOffloadBroken", message }),
    }),
    facts,
  );
