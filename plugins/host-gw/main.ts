import { runPlugin } from "../../pkg/cni/loop.ts";
import { exit, quickjs } from "../../pkg/sys/quickjs.ts";
import { hostGw } from "./host-gw.ts";

exit(runPlugin(hostGw, quickjs));
