/** The configuration of `ptp`: the reference plugin's keys. */
import { ipamType } from "../../pkg/attachment/ipam.ts";
import { type MasqueradeOption, masqueradeOption, mtuOption } from "../../pkg/attachment/options.ts";
import type { ConfigObject } from "../../pkg/cni/config.ts";

export interface PtpConfig extends MasqueradeOption {
  /** The address manager: a cable without addresses leads nowhere. */
  readonly ipam: string;
  /** Of both ends; undefined is the kernel's default. */
  readonly mtu: number | undefined;
}

/** Throws `CniError` 7 for a value that is wrong. */
export function parsePtpConfig(object: ConfigObject): PtpConfig {
  const ipam = ipamType(object);
  if (ipam === undefined)
    throw object.invalid("ipam", "an object with the type of an address manager, which ptp needs");
  return { ipam, ...masqueradeOption(object), mtu: mtuOption(object) };
}
