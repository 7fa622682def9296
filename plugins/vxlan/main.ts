import { chainedPlugin } from "../../pkg/backend/chained.ts";
import { vxlan } from "../../pkg/backend/registry.ts";

/** `vxlan`: chained behind `bridge` where nodes are joined by VXLAN. */
export const plugin = chainedPlugin(vxlan, "ties a pod to its node's VXLAN overlay");
