/** IP forwarding, switched on where it is off: without it no packet gets from a pod to another node. */
import type { Family } from "../pkg/ip/address.ts";
import { ensureSysctl, readSysctl, type SysctlName } from "../pkg/kernel/sysctl.ts";
import { isSystemError } from "../pkg/sys/errors.ts";
import type { Files } from "../pkg/sys/system.ts";

const FORWARDING: Readonly<Record<Family, SysctlName>> = {
  4: ["net", "ipv4", "ip_forward"],
  6: ["net", "ipv6", "conf", "all", "forwarding"],
};

/** A setting that is wrong and cannot be changed from here; the message says what to run. */
export class ForwardingError extends Error {
  constructor(name: SysctlName, value: string, cause: Error) {
    const setting = `${name.join(".")}=${value}`;
    super(`${setting} cannot be set: ${cause.message}; run weftd privileged, or on the host: sysctl -w ${setting}`, {
      cause,
    });
    this.name = "ForwardingError";
  }
}

/**
 * Forwards for `families`; returns the settings that were changed, as "name=value". Throws `ForwardingError`.
 *
 * A host that forwards IPv6 ignores router advertisements, unless accept_ra is 2: where the underlay's interface may
 * live by them, it is told to go on, first, or it would lose its default route when the next one runs out.
 */
export function ensureForwarding(files: Files, families: ReadonlySet<Family>, underlay: string): string[] {
  const wanted: [SysctlName, string][] = [];
  if (families.has(4)) wanted.push([FORWARDING[4], "1"]);
  if (families.has(6)) {
    const acceptance = ["net", "ipv6", "conf", underlay, "accept_ra"];
    if (readSysctl(files, acceptance) === "1") wanted.push([acceptance, "2"]);
    wanted.push([FORWARDING[6], "1"]);
  }
  return wanted
    .filter(([name, value]) => ensure(files, name, value))
    .map(([name, value]) => `${name.join(".")}=${value}`);
}

function ensure(files: Files, name: SysctlName, value: string): boolean {
  try {
    const isRight = readSysctl(files, name) === value;
    ensureSysctl(files, name, value);
    return !isRight;
  } catch (error) {
    if (isSystemError(error)) throw new ForwardingError(name, value, error);
    throw error;
  }
}
