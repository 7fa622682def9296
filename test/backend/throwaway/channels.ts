/** By the tag. */
import type { Channels, KnownDevice } from "../../../pkg/backend/contract.ts";
import type { VtepDevice } from "../../../pkg/kernel/vtep-device.ts";
import type { ThrowawayConf, ThrowawayPeer } from "./main.ts";

export const channels: Channels<ThrowawayConf, ThrowawayPeer, KnownDevice, number> = {
  of: () => [],
  in: (devices) => devices.map((device) => (device as VtepDevice).vni),
  to: (_conf, { station }) => (station === undefined ? [] : [station.tag]),
};
