/**
 * The configuration of `bridge`: the reference plugin's keys, defaults and rules.
 */

import { ipamType } from "../../pkg/attachment/ipam.ts";
import {
  assertDeviceName,
  type MasqueradeOption,
  macGuardOption,
  masqueradeOption,
  mtuOption,
  requestedMac,
} from "../../pkg/attachment/options.ts";
import type { CniArguments } from "../../pkg/cni/arguments.ts";
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { DEFAULT_BRIDGE } from "../../pkg/footprint.ts";
import { LONGEST_NAME } from "../../pkg/kernel/link.ts";
import { type VlanConfig, vlanOptions } from "./vlans.ts";

export interface BridgeConfig extends MasqueradeOption {
  /** The bridge's name; made when absent. */
  readonly bridge: string;
  /** The bridge gets each range's gateway address. */
  readonly isGateway: boolean;
  /** The pod gets a default route by the gateway; implies `isGateway`. */
  readonly isDefaultGateway: boolean;
  /** A different gateway address on the bridge is replaced instead of refused. */
  readonly forceAddress: boolean;
  /** Of the veth's both ends, and of a bridge that is made; undefined is the kernel's default. */
  readonly mtu: number | undefined;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  /** The pod's hardware address, as the runtime wants it. */
  readonly mac: string | undefined;
  /** What the port takes and gives; undefined where the bridge need not look at VLANs. */
  readonly vlans: VlanConfig | undefined;
  /** `macspoofchk`: frames from the pod pass only with its own hardware address as their source. */
  readonly guardsMac: boolean;
  /** `portIsolation`: the pod reaches no other pod whose port is isolated, only the host and what is behind it. */
  readonly isIsolated: boolean;
  /** `enabledad`: ADD waits until the link knows of nobody else with the pod's IPv6 addresses. */
  readonly detectsDuplicates: boolean;
  /** `disableContainerInterface`: the pod's end stays down, and without addresses. */
  readonly staysDown: boolean;
}

/** Throws `CniError` 7 for a value that is wrong. */
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
    isIsolated: object.optionalBoolean("portIsolation") ?? false,
    detectsDuplicates: object.optionalBoolean("enabledad") ?? false,
    staysDown: object.optionalBoolean("disableContainerInterface") ?? false,
  };
  if (config.hairpinMode && config.promiscMode) {
    throw object.invalid("promiscMode", "only one of hairpinMode and promiscMode to be true");
  }
  if (config.staysDown && ipamType(object) !== undefined) {
    throw object.invalid("disableContainerInterface", "no ipam besides, since the interface stays down");
  }
  if (config.isGateway && gatewayName(config).length > LONGEST_NAME) {
    throw object.invalid("bridge", `room for ".${config.vlans?.id}" in a device name of ${LONGEST_NAME} characters`);
  }
  return config;
}

/** The device that holds the gateway's addresses: the bridge itself, or its end in the pod's VLAN. */
export function gatewayName({ bridge, vlans }: Pick<BridgeConfig, "bridge" | "vlans">): string {
  return vlans?.id === undefined ? bridge : `${bridge}.${vlans.id}`;
}

function bridgeName(object: ConfigObject): string {
  return assertDeviceName(object, "bridge", object.optionalString("bridge") || DEFAULT_BRIDGE);
}
