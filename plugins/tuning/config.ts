/** What of an interface and of its namespace is to be changed. */

import { assertUnicast, environmentMac, mtuOption } from "../../pkg/attachment/options.ts";
import type { ConfigObject } from "../../pkg/cni/config.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { DEFAULT_TUNING_DIR } from "../../pkg/footprint.ts";

/** Attributes of the interface; what is left out stays as it is. */
export interface Attributes {
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  /** Never false: nothing is switched off that the configuration does not want. */
  readonly promiscuous: true | undefined;
  readonly allMulticast: boolean | undefined;
  /** In packets. */
  readonly txQueueLength: number | undefined;
}

export interface Tuning {
  readonly attributes: Attributes;
  /** Keys as the configuration spells them. */
  readonly sysctls: ReadonlyMap<string, string>;
}

/** A queue's length is told in 32 bits, and the kernel keeps less than 31 of them (dev_change_tx_queue_len). */
const QUEUE_LIMITS = { min: 0, max: 2 ** 31 - 1 };

/** Where the values from before ADD are kept. */
export function dataDirectory(config: ConfigObject): string {
  return config.optionalString("dataDir") || DEFAULT_TUNING_DIR;
}

/**
 * As with the reference, `args.cni` beats everything (also by saying 0, "" or false), then for `mac` the runtime's
 * capability, then CNI_ARGS, then the configuration. Throws `CniError` 7.
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

/** True when there is something that the kernel holds for the interface itself. */
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
