/** The registered backends, one line for each (backends.ts makes a list of them). */
// biome-ignore-all lint/performance/noBarrelFile: this file has only the registered backends
export { hostGw } from "./host-gw/main.ts";
export { vxlan } from "./vxlan/main.ts";
