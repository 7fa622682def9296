/** Where things lie on a node: the options that all subcommands have which look at one. */
import type { NumberOption, TextOption } from "../subcommand.ts";

export const RUN_DIR = {
  kind: "text",
  value: "DIR",
  about: "weftd's run directory",
  default: "/run/weft",
  completes: "directory",
} as const satisfies TextOption;

export const CNI_CONF_DIR = {
  kind: "text",
  value: "DIR",
  about: "where the runtime looks for network configurations",
  default: "/etc/cni/net.d",
  completes: "directory",
} as const satisfies TextOption;

export const CNI_BIN_DIR = {
  kind: "text",
  value: "DIR",
  about: "where the runtime looks for plugins",
  default: "/opt/cni/bin",
  completes: "directory",
} as const satisfies TextOption;

export const METRICS_ADDRESS = {
  kind: "text",
  value: "HOST:PORT",
  about: "where weftd answers /readyz",
  default: "127.0.0.1:9468",
} as const satisfies TextOption;

export const TIMEOUT = {
  kind: "number",
  value: "MS",
  about: "how long to wait for others' answers",
  default: 1000,
  minimum: 1,
  maximum: 60_000,
} as const satisfies NumberOption;
