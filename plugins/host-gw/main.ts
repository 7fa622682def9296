import { chainedPlugin } from "../../pkg/backend/chained.ts";
import { hostGw } from "../../pkg/backend/registry.ts";

/** `host-gw`: runs after `bridge` if nodes are connected by plain routes. */
export const plugin = chainedPlugin(hostGw, "connects a pod to the routes to other nodes' pods");
