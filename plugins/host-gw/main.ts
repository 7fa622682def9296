import { chainedPlugin } from "../../pkg/backend/chained.ts";

/** `host-gw`: chained behind `bridge` where nodes are joined by plain routes. */
export const plugin = chainedPlugin("host-gw", "ties a pod to its node's routes to other nodes");
