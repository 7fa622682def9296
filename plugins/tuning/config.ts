/** Parses the changes of an interface and of its namespace. */

import { assertUnicast, environmentMac, mtuOption } from "../../pkg/attachment/options.ts";
import type { ConfigObject } from "../../pkg/cni/config.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { DEFAULT_TUNING_DIR } from "../../pkg/footprint.ts";

/** Attributes of the interface. Absent attributes are not changed. */
export interface Attributes {
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  /** Never false: the plugin does not switch the mode off. */
  readonly promiscuous: true | undefined;
  readonly allMulticast: boolean | undefined;
  /** The length in packets. */
  readonly txQueueLength: number | undefined;
}

export interface Tuning {
  readonly attributes: Attributes;
  /** Keys in the spelling of the configuration. */
  readonly sysctls: ReadonlyMap<string, string>;
}

/** The length has 32 bits, and the kernel accepts less than 31 of them (dev_change_tx_queue_len). */
const QUEUE_LIMITS = { min: 0, max: 2 ** 31 - 1 };

/** The directory for the values from before ADD. */
export function dataDirectory(config: ConfigObject): string {
  return config.optionalString("dataDir") || DEFAULT_TUNING_DIR;
}

/**
 * Parses the configuration. As with the reference, `args.cni` overrides everything (also with 0, "" or false). For
 * `mac`, the order after that is the runtime's capability, CNI_ARGS, the configuration. Throws `CniError` 7.
 */
export function parseTuning({ config, configArgs, runtimeConfig, args }: CniRequest): Tuning {
  const stating = (key: string) => (configArgs.has(key) ? configArgs : config);
  const mac = configArgs.has("mac")
    ? configArgs.optionalMac("mac")
    : (runtimeConfig.optionalMac("mac") ?? environmentMac(args) ?? config.optionalMac("mac"));
  return {
    attributes: {
      mac: mac === undefined ? undefined : assertUnicast(mac),
      mtu: mtuOption(stating("mtu")),
      promiscuous: stating("promisc").optionalBoolean("promisc") === true ? true : undefined,
      allMulticast: stating("allmulti").optionalBoolean("allmulti"),
      txQueueLength: stating("txQLen").optionalInteger("txQLen", QUEUE_LIMITS),
    },
    sysctls: new Map([...readSysctls(config), ...readSysctls(configArgs)]),
  };
}

/** True if there are attributes of the interface to change. */
export function hasAttributes(attributes: Attributes): boolean {
  return Object.values(attributes).some((value) => value !== undefined);
}

function readSysctls(object: ConfigObject): [key: string, value: string][] {
  const settings = object.object("sysctl");
  return settings.keys().map((key) => {
    const value = settings.value(key);
    if (typeof value !== "string") throw settings.invalid(key, "a string", value);
    return [key, value];
  });
}
