/** Parses the configuration of `bridge`, with the reference plugin's keys, defaults and rules. */

import { ipamType } from "../../pkg/attachment/ipam.ts";
import {
  assertDeviceName,
  type MasqueradeOption,
  macGuardOption,
  masqueradeOption,
  mtuOption,
  requestedMac,
  senderGuardOption,
} from "../../pkg/attachment/options.ts";
import { networkPolicyOption } from "../../pkg/attachment/policy/option.ts";
import type { NetworkPolicyKey } from "../../pkg/attachment/policy/protocol.ts";
import type { CniArguments } from "../../pkg/cni/arguments.ts";
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { DEFAULT_BRIDGE } from "../../pkg/footprint.ts";
import { LONGEST_NAME } from "../../pkg/kernel/link.ts";
import { type VlanConfig, vlanOptions } from "./vlans.ts";

export interface BridgeConfig extends MasqueradeOption {
  /** The bridge's name. The bridge is created if it does not exist. */
  readonly bridge: string;
  /** True if the bridge gets each range's gateway address. */
  readonly isGateway: boolean;
  /** True if the pod gets a default route through the gateway. Implies `isGateway`. */
  readonly isDefaultGateway: boolean;
  /** True if a different gateway address on the bridge is replaced instead of rejected. */
  readonly forceAddress: boolean;
  /** The MTU of both ends of the veth pair, and of a bridge that is created. Undefined for the kernel's default. */
  readonly mtu: number | undefined;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  /** The pod's hardware address, if the runtime requests one. */
  readonly mac: string | undefined;
  /** The VLANs of the port. Undefined if the bridge need not filter VLANs. */
  readonly vlans: VlanConfig | undefined;
  /** `macspoofchk`: frames from the pod pass only with the pod's hardware address as source. */
  readonly guardsMac: boolean;
  /** `networkPolicy`: weftd installs the pod's NetworkPolicies before the pod can send. */
  readonly networkPolicy: NetworkPolicyKey | undefined;
  /**
   * `guardSenders`: the pod may send only with its own hardware address and IP addresses, also in ARP and neighbour
   * discovery, and without VLAN tags.
   */
  readonly guardsSenders: boolean;
  /** `portIsolation`: the pod cannot reach other pods on isolated ports, only the host and networks beyond it. */
  readonly isIsolated: boolean;
  /** `enabledad`: ADD waits until duplicate address detection of the pod's IPv6 addresses has finished. */
  readonly detectsDuplicates: boolean;
  /** `disableContainerInterface`: the pod's end stays down and has no addresses. */
  readonly staysDown: boolean;
}

/** Throws `CniError` 7 for an invalid value. */
export function parseBridgeConfig(object: ConfigObject, args: CniArguments): BridgeConfig {
  const isDefaultGateway = object.optionalBoolean("isDefaultGateway") ?? false;
  const config: BridgeConfig = {
    bridge: bridgeName(object),
    isDefaultGateway,
    isGateway: isDefaultGateway || (object.optionalBoolean("isGateway") ?? false),
    forceAddress: object.optionalBoolean("forceAddress") ?? false,
    ...masqueradeOption(object),
    mtu: mtuOption(object),
    hairpinMode: object.optionalBoolean("hairpinMode") ?? false,
    promiscMode: object.optionalBoolean("promiscMode") ?? false,
    mac: requestedMac(object, args),
    vlans: vlanOptions(object),
    guardsMac: macGuardOption(object),
    networkPolicy: networkPolicyOption(object),
    guardsSenders: senderGuardOption(object),
    isIsolated: object.optionalBoolean("portIsolation") ?? false,
    detectsDuplicates: object.optionalBoolean("enabledad") ?? false,
    staysDown: object.optionalBoolean("disableContainerInterface") ?? false,
  };
  if (config.hairpinMode && config.promiscMode) {
    throw object.invalid("promiscMode", "only one of hairpinMode and promiscMode to be true");
  }
  if (config.guardsSenders && config.vlans?.port !== undefined && config.vlans.port.tagged.length > 0) {
    throw object.invalid("guardSenders", "no vlanTrunk, since a guarded pod sends no VLAN tags");
  }
  if (config.staysDown && ipamType(object) !== undefined) {
    throw object.invalid("disableContainerInterface", "no ipam, since the interface stays down");
  }
  if (config.isGateway && gatewayName(config).length > LONGEST_NAME) {
    throw object.invalid("bridge", `space for ".${config.vlans?.id}" in a device name of ${LONGEST_NAME} characters`);
  }
  return config;
}

/** Returns the device with the gateway's addresses: the bridge itself, or its end in the pod's VLAN. */
export function gatewayName({ bridge, vlans }: Pick<BridgeConfig, "bridge" | "vlans">): string {
  return vlans?.id === undefined ? bridge : `${bridge}.${vlans.id}`;
}

function bridgeName(object: ConfigObject): string {
  return assertDeviceName(object, "bridge", object.optionalString("bridge") || DEFAULT_BRIDGE);
}
