import { chainedPlugin } from "../../pkg/backend/chained.ts";
import { vxlan } from "../../pkg/backend/registry.ts";

/** `vxlan`: runs after `bridge` if nodes are connected by VXLAN. */
export const plugin = chainedPlugin(vxlan, "connects a pod to the VXLAN overlay");
