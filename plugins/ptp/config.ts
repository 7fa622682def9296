/** Parses the configuration of `ptp`, with the reference plugin's keys. */
import { ipamType } from "../../pkg/attachment/ipam.ts";
import { type MasqueradeOption, masqueradeOption, mtuOption, senderGuardOption } from "../../pkg/attachment/options.ts";
import { networkPolicyOption } from "../../pkg/attachment/policy/option.ts";
import type { NetworkPolicyKey } from "../../pkg/attachment/policy/protocol.ts";
import type { ConfigObject } from "../../pkg/cni/config.ts";

export interface PtpConfig extends MasqueradeOption {
  /** The type of the IPAM plugin. It is required: a link without addresses is of no use. */
  readonly ipam: string;
  /** `guardSenders`: the pod may send only from its own addresses, also in neighbour discovery. */
  readonly guardsSenders: boolean;
  /** The MTU of both ends. Undefined for the kernel's default. */
  readonly mtu: number | undefined;
  /** weftd installs the pod's NetworkPolicies before the pod can send. */
  readonly networkPolicy: NetworkPolicyKey | undefined;
}

/** Throws `CniError` 7 for an invalid value. */
export function parsePtpConfig(object: ConfigObject): PtpConfig {
  const ipam = ipamType(object);
  if (ipam === undefined) throw object.invalid("ipam", "an object with the type of an IPAM plugin, which ptp needs");
  return {
    ipam,
    ...masqueradeOption(object),
    mtu: mtuOption(object),
    guardsSenders: senderGuardOption(object),
    networkPolicy: networkPolicyOption(object),
  };
}
