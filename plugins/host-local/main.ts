import { runPlugin } from "../../pkg/cni/loop.ts";
import { quickjs } from "../../pkg/sys/quickjs.ts";
import { hostLocal } from "./host-local.ts";

export const run = () => runPlugin(hostLocal, quickjs);
