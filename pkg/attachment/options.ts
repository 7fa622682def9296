/** Configuration keys with the same meaning in all plugins that make an interface. */

import { type CniArguments, parseArgument } from "../cni/arguments.ts";
import type { ConfigObject } from "../cni/config.ts";
import { CniError, ErrorCode } from "../cni/errors.ts";
import { formatMac, parseMac } from "../ip/mac.ts";
import { LONGEST_NAME } from "../kernel/link.ts";
import { ipamType } from "./ipam.ts";

/** The smallest MTU that IPv4 allows on a link (RFC 791), and the largest that IP can use. */
const MTU_LIMITS = { min: 68, max: 65_535 };

/** Reads `mtu`. 0 means the kernel's default, as in the reference plugins. */
export function mtuOption(object: ConfigObject): number | undefined {
  const value = object.optionalInteger("mtu", { min: 0, max: MTU_LIMITS.max });
  if (value === undefined || value === 0) return undefined;
  if (value < MTU_LIMITS.min)
    throw object.invalid("mtu", `an integer from ${MTU_LIMITS.min} to ${MTU_LIMITS.max}, or 0`);
  return value;
}

export interface MasqueradeOption {
  /** True if traffic from the pod that leaves its subnet is masqueraded. */
  readonly ipMasq: boolean;
  /** The warning that ADD prints if the configured backend is replaced by nftables. */
  readonly masqueradeNotice: string | undefined;
}

/**
 * Reads `ipMasq` and `ipMasqBackend`. The backend is ignored without `ipMasq`. nftables masquerades for either backend.
 */
export function masqueradeOption(object: ConfigObject): MasqueradeOption {
  const ipMasq = object.optionalBoolean("ipMasq") ?? false;
  const backend = object.optionalString("ipMasqBackend") || "nftables";
  if (!ipMasq) return { ipMasq, masqueradeNotice: undefined };
  if (backend !== "nftables" && backend !== "iptables")
    throw object.invalid("ipMasqBackend", '"iptables" or "nftables"');
  const notice = 'ipMasqBackend "iptables": weft uses nftables instead, in the table inet weft_masquerade';
  return { ipMasq, masqueradeNotice: backend === "iptables" ? notice : undefined };
}

/** Reads `macspoofchk`: frames from the pod pass only if their source is the pod's own hardware address. */
export function macGuardOption(object: ConfigObject): boolean {
  return object.optionalBoolean("macspoofchk") ?? false;
}

/**
 * Reads `guardSenders`: the pod may send only with its own hardware address and its own IP addresses, also in ARP and
 * neighbour discovery, and without VLAN tags. It is no key of the reference plugins, so the default is false. weftd writes
 * true into its own configuration. A network whose pods route packets of others needs false. Throws `CniError` 7 if no
 * IPAM plugin gives the pod addresses.
 */
export function senderGuardOption(object: ConfigObject): boolean {
  const isGuarded = object.optionalBoolean("guardSenders") ?? false;
  if (isGuarded && ipamType(object) === undefined)
    throw object.invalid(
      "guardSenders",
      "an IPAM plugin in ipam, since a guarded pod without addresses can send nothing",
    );
  return isGuarded;
}

/** Returns `name` if a new device can have it. Throws `CniError` 7 otherwise. */
export function assertDeviceName(object: ConfigObject, key: string, name: string): string {
  if (name.length <= LONGEST_NAME && !/[\s/:]/.test(name) && name !== "." && name !== "..") return name;
  throw object.invalid(key, `a device name of at most ${LONGEST_NAME} characters without "/", ":" or spaces`);
}

/**
 * Returns the requested hardware address. The runtime's capability takes precedence over args.cni.mac, which takes
 * precedence over MAC in CNI_ARGS (CNI conventions, "MAC").
 */
export function requestedMac(object: ConfigObject, args: CniArguments): string | undefined {
  const fromCapability = object.object("runtimeConfig").optionalMac("mac");
  const fromArgs = object.object("args").object("cni").optionalMac("mac");
  const mac = fromCapability ?? fromArgs ?? environmentMac(args);
  return mac === undefined ? undefined : assertUnicast(mac);
}

/**
 * For plugins that have a key `mac` and ignore args.cni in the reference implementation. The order of precedence is:
 * the runtime's capability, MAC in CNI_ARGS, `mac`, args.cni.mac.
 */
export function configuredMac(object: ConfigObject, args: CniArguments): string | undefined {
  const fromCapability = object.object("runtimeConfig").optionalMac("mac");
  const fromArgs = object.object("args").object("cni").optionalMac("mac");
  const mac = fromCapability ?? environmentMac(args) ?? object.optionalMac("mac") ?? fromArgs;
  return mac === undefined ? undefined : assertUnicast(mac);
}

/** Returns MAC of CNI_ARGS. Throws `CniError` 4. */
export function environmentMac(args: CniArguments): string | undefined {
  return parseArgument(args.read("MAC"), "MAC", (text) => formatMac(parseMac(text)))[0];
}

/** Refuses multicast addresses: an interface cannot have one. Throws `CniError` 7. */
export function assertUnicast(mac: string): string {
  if ((Number.parseInt(mac.slice(0, 2), 16) & 1) === 0) return mac;
  throw new CniError(ErrorCode.invalidConfig, `mac: expected a unicast address, got the multicast address ${mac}`);
}

/** Reads a key whose value is one of `choices`. Returns `fallback` if it is absent or empty. Throws `CniError` 7. */
export function oneOf<T extends string>(
  object: ConfigObject,
  key: string,
  choices: Readonly<Record<T, unknown>>,
  fallback: T,
): T {
  const text = object.optionalString(key) || fallback;
  if (Object.hasOwn(choices, text)) return text as T;
  throw object.invalid(key, `one of ${Object.keys(choices).join(", ")}`);
}
