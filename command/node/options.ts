/** Options for files and addresses of a node, shared by subcommands. */
import {
  DEFAULT_CNI_BIN_DIR,
  DEFAULT_CNI_CONF_DIR,
  DEFAULT_RUN_DIR,
  DEFAULT_STATE_DIR,
  METRICS_LISTEN,
} from "../../pkg/footprint.ts";
import type { NumberOption, TextOption } from "../subcommand.ts";

export const RUN_DIR = {
  kind: "text",
  value: "DIR",
  about: "weftd's run directory",
  default: DEFAULT_RUN_DIR,
  completes: "directory",
} as const satisfies TextOption;

export const STATE_DIR = {
  kind: "text",
  value: "DIR",
  about: "the directory of weftd's state that survives reboots",
  default: DEFAULT_STATE_DIR,
  completes: "directory",
} as const satisfies TextOption;

export const CNI_CONF_DIR = {
  kind: "text",
  value: "DIR",
  about: "the runtime's directory of network configurations",
  default: DEFAULT_CNI_CONF_DIR,
  completes: "directory",
} as const satisfies TextOption;

export const CNI_BIN_DIR = {
  kind: "text",
  value: "DIR",
  about: "the runtime's directory of plugins",
  default: DEFAULT_CNI_BIN_DIR,
  completes: "directory",
} as const satisfies TextOption;

export const METRICS_ADDRESS = {
  kind: "text",
  value: "HOST:PORT",
  about: "the address at which weftd serves /readyz",
  default: `${METRICS_LISTEN.host}:${METRICS_LISTEN.port}`,
} as const satisfies TextOption;

export const TIMEOUT = {
  kind: "number",
  value: "MS",
  about: "the time to wait for answers",
  default: 1000,
  minimum: 1,
  maximum: 60_000,
} as const satisfies NumberOption;
