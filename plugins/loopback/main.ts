import { runPlugin } from "../../pkg/cni/loop.ts";
import { exit, quickjs } from "../../pkg/sys/quickjs.ts";
import { loopback } from "./loopback.ts";

exit(runPlugin(loopback, quickjs));
