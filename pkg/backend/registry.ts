/** The backends that there are: a line for each (backends.ts makes a list of them). */
// biome-ignore-all lint/performance/noBarrelFile: what is registered is all here, and nothing else
export { hostGw } from "./host-gw/main.ts";
export { vxlan } from "./vxlan/main.ts";
