import { runPlugin } from "../../pkg/cni/loop.ts";
import { quickjs } from "../../pkg/sys/quickjs.ts";
import { hostLocal } from "../host-local/host-local.ts";
import { bridge } from "./bridge.ts";

export const run = () => runPlugin(bridge, quickjs, { "host-local": hostLocal });
