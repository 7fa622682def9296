/** host-gw has no devices: it receives packets from all peers by the underlay. */
import type { Backend } from "../contract.ts";

export const channels: Backend["channels"] = { of: () => [], in: () => [], to: () => [] };
