import { runPlugin } from "../../pkg/cni/loop.ts";
import { exit, quickjs } from "../../pkg/sys/quickjs.ts";
import { hostLocal } from "./host-local.ts";

exit(runPlugin(hostLocal, quickjs));
