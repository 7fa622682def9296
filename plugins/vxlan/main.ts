import { runPlugin } from "../../pkg/cni/loop.ts";
import { quickjs } from "../../pkg/sys/quickjs.ts";
import { vxlan } from "./vxlan.ts";

export const run = () => runPlugin(vxlan, quickjs);
