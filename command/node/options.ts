/** Where things lie on a node: the options that all subcommands have which look at one. */
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
  about: "what weftd keeps over a reboot",
  default: DEFAULT_STATE_DIR,
  completes: "directory",
} as const satisfies TextOption;

export const CNI_CONF_DIR = {
  kind: "text",
  value: "DIR",
  about: "where the runtime looks for network configurations",
  default: DEFAULT_CNI_CONF_DIR,
  completes: "directory",
} as const satisfies TextOption;

export const CNI_BIN_DIR = {
  kind: "text",
  value: "DIR",
  about: "where the runtime looks for plugins",
  default: DEFAULT_CNI_BIN_DIR,
  completes: "directory",
} as const satisfies TextOption;

export const METRICS_ADDRESS = {
  kind: "text",
  value: "HOST:PORT",
  about: "where weftd answers /readyz",
  default: `${METRICS_LISTEN.host}:${METRICS_LISTEN.port}`,
} as const satisfies TextOption;

export const TIMEOUT = {
  kind: "number",
  value: "MS",
  about: "how long to wait for others' answers",
  default: 1000,
  minimum: 1,
  maximum: 60_000,
} as const satisfies NumberOption;
