import { runPlugin } from "../../pkg/cni/loop.ts";
import { quickjs } from "../../pkg/sys/quickjs.ts";
import { hostGw } from "./host-gw.ts";

export const run = () => runPlugin(hostGw, quickjs);
