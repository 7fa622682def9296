/** Computes what the table of `firewall` should have for an attachment. Pure. */
import type { ConfigObject } from "../../cni/config.ts";
import type { Result } from "../../cni/result.ts";
import type { Firewall } from "../../tables/firewall.ts";
import type { FirewallConfig } from "./config.ts";

/** `config` was parsed from `object`. Throws `CniError` 7 if a policy needs a bridge and `result` names none. */
export function planFirewall(
  object: ConfigObject,
  { ingressPolicy }: Pick<FirewallConfig, "ingressPolicy">,
  owner: string,
  result: Result,
): Firewall {
  const addresses = result.ips.map(({ address }) => address.address);
  if (ingressPolicy === undefined) {
    return { pods: addresses.map((address) => ({ owner, address })), policies: new Map() };
  }
  const bridge = result.interfaces[0]?.name;
  if (bridge === undefined || bridge === "") {
    throw object.invalid("ingressPolicy", "a chain in which bridge runs before firewall: prevResult names no bridge");
  }
  return {
    pods: addresses.map((address) => ({ owner, address, bridge })),
    policies: new Map([[bridge, ingressPolicy]]),
  };
}
