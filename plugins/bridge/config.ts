/**
 * The configuration of `bridge`: the reference plugin's keys, defaults and rules.
 */
import { mtuOption, requestedMac } from "../../pkg/attachment/options.ts";
import type { CniArguments } from "../../pkg/cni/arguments.ts";
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";

export interface BridgeConfig {
  /** The bridge's name; made when absent. */
  readonly bridge: string;
  /** The bridge gets each range's gateway address. */
  readonly isGateway: boolean;
  /** The pod gets a default route by the gateway; implies `isGateway`. */
  readonly isDefaultGateway: boolean;
  /** A different gateway address on the bridge is replaced instead of refused. */
  readonly forceAddress: boolean;
  /** Traffic from the pod that leaves its subnet is masqueraded. */
  readonly ipMasq: boolean;
  /** Of the veth's both ends, and of a bridge that is made; undefined is the kernel's default. */
  readonly mtu: number | undefined;
  readonly hairpinMode: boolean;
  readonly promiscMode: boolean;
  /** The pod's hardware address, as the runtime wants it. */
  readonly mac: string | undefined;
}

const DEFAULT_BRIDGE = "cni0";
/** IFNAMSIZ - 1 */
const LONGEST_NAME = 15;

/** Throws `CniError` 7 for a value that is wrong, 2 for a key that the reference knows and this plugin does not serve. */
export function parseBridgeConfig(object: ConfigObject, args: CniArguments): BridgeConfig {
  refuseUnserved(object);
  const isDefaultGateway = object.optionalBoolean("isDefaultGateway") ?? false;
  const config: BridgeConfig = {
    bridge: bridgeName(object),
    isDefaultGateway,
    isGateway: isDefaultGateway || (object.optionalBoolean("isGateway") ?? false),
    forceAddress: object.optionalBoolean("forceAddress") ?? false,
    ipMasq: object.optionalBoolean("ipMasq") ?? false,
    mtu: mtuOption(object),
    hairpinMode: object.optionalBoolean("hairpinMode") ?? false,
    promiscMode: object.optionalBoolean("promiscMode") ?? false,
    mac: requestedMac(object, args),
  };
  if (config.hairpinMode && config.promiscMode) {
    throw object.invalid("promiscMode", "only one of hairpinMode and promiscMode to be true");
  }
  return config;
}

function bridgeName(object: ConfigObject): string {
  const name = object.optionalString("bridge") || DEFAULT_BRIDGE;
  if (name.length > LONGEST_NAME || /[\s/:]/.test(name) || name === "." || name === "..") {
    throw object.invalid("bridge", `a device name of at most ${LONGEST_NAME} characters without "/", ":" or spaces`);
  }
  return name;
}

/** Keys of the reference plugin that change what is made: to ignore one would be to build another network. */
const UNSERVED: readonly (readonly [key: string, isDefault: (value: unknown) => boolean])[] = [
  ["vlan", (value) => value === 0],
  ["vlanTrunk", (value) => Array.isArray(value) && value.length === 0],
  ["preserveDefaultVlan", () => true],
  ["macspoofchk", (value) => value === false],
  ["portIsolation", (value) => value === false],
  ["disableContainerInterface", (value) => value === false],
  ["enabledad", (value) => value === false],
];

function refuseUnserved(object: ConfigObject): void {
  for (const [key, isDefault] of UNSERVED) {
    const value = object.value(key);
    if (value === undefined || isDefault(value)) continue;
    throw new CniError(
      ErrorCode.unsupportedField,
      `${key}: ${JSON.stringify(value)} is not supported by this bridge plugin`,
    );
  }
  const backend = object.optionalString("ipMasqBackend");
  if (backend !== undefined && backend !== "" && backend !== "nftables") {
    throw new CniError(
      ErrorCode.unsupportedField,
      `ipMasqBackend: "${backend}" is not supported: masquerading is done by nftables`,
    );
  }
}
