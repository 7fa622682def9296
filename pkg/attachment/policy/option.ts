/** Reads the key `networkPolicy` of a configuration. */
import type { ConfigObject } from "../../cni/config.ts";
import { ipamType } from "../ipam.ts";
import { oneOf } from "../options.ts";
import type { NetworkPolicyKey } from "./protocol.ts";

const FAIL = { closed: true, open: true } as const;

/**
 * Returns undefined if the configuration does not have the key. Throws `CniError` 7 for an invalid value, and together
 * with `dhcp`: a DHCP server assigns the address when the interface already sends, which is too late for isolation.
 */
export function networkPolicyOption(object: ConfigObject): NetworkPolicyKey | undefined {
  const key = object.optionalObject("networkPolicy");
  if (key === undefined) return undefined;
  const socket = key.requiredString("socket");
  if (!socket.startsWith("/")) throw key.invalid("socket", "an absolute path");
  if (ipamType(object) === "dhcp") {
    throw object.invalid(
      "networkPolicy",
      "an ipam plugin that assigns addresses before the interface comes up, or no networkPolicy: dhcp assigns them later",
    );
  }
  return { socket, fail: oneOf(key, "fail", FAIL, "closed") };
}
