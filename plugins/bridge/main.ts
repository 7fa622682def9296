import { runPlugin } from "../../pkg/cni/loop.ts";
import { exit, quickjs } from "../../pkg/sys/quickjs.ts";
import { hostLocal } from "../host-local/host-local.ts";
import { bridge } from "./bridge.ts";

exit(runPlugin(bridge, quickjs, { "host-local": hostLocal }));
