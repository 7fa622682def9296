import { runPlugin } from "../../pkg/cni/loop.ts";
import { quickjs } from "../../pkg/sys/quickjs.ts";
import { loopback } from "./loopback.ts";

export const run = () => runPlugin(loopback, quickjs);
