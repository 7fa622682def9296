import { chainedPlugin } from "../../pkg/backend/chained.ts";
import { hostGw } from "../../pkg/backend/registry.ts";

/** `host-gw`: chained behind `bridge` where nodes are joined by plain routes. */
export const plugin = chainedPlugin(hostGw, "ties a pod to its node's routes to other nodes");
