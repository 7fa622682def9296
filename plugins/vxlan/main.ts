import { runPlugin } from "../../pkg/cni/loop.ts";
import { exit, quickjs } from "../../pkg/sys/quickjs.ts";
import { vxlan } from "./vxlan.ts";

exit(runPlugin(vxlan, quickjs));
