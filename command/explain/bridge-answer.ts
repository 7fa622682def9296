/** Checks whether a bridge answers its pods for a pod with its own link. Pure. */
import type { Address } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { type ObservedProxy, planProxies, proxySettings } from "../../pkg/kernel/neighbour-proxy.ts";
import type { SysctlName } from "../../pkg/kernel/sysctl.ts";

export interface AnswerFacts {
  readonly sysctl: (name: SysctlName) => string | undefined;
  /** The proxy entries of IPv6. IPv4 needs none. */
  readonly proxies: () => readonly ObservedProxy[];
}

/** Returns the command that makes the bridge answer. Undefined if it answers. */
export function missingAnswer({ sysctl, proxies }: AnswerFacts, bridge: Link, address: Address): string | undefined {
  const switches = proxySettings(bridge.name, address.family).filter(({ value }) => value === "1");
  for (const { name, value } of switches) {
    const dotted = name.map((part) => part.replaceAll(".", "/")).join(".");
    if (sysctl(name) !== value) return `sysctl -w ${dotted}=${value}`;
  }
  if (address.family === 4) return undefined;
  const [entry] = planProxies(bridge.index, [address], proxies());
  return entry?.identifier === "RTM_NEWNEIGH" ? entry.text : undefined;
}
