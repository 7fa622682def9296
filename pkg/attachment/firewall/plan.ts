/** What the table of `firewall` should hold for an attachment. Pure. */
import type { ConfigObject } from "../../cni/config.ts";
import type { Result } from "../../cni/result.ts";
import type { Firewall } from "../../tables/firewall.ts";
import type { FirewallConfig } from "./config.ts";

/** `object` is what `config` was read from. Throws `CniError` 7 where a policy needs a bridge that `result` does not name. */
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
    throw object.invalid("ingressPolicy", "a chain in which bridge comes before firewall: prevResult names no bridge");
  }
  return {
    pods: addresses.map((address) => ({ owner, address, bridge })),
    policies: new Map([[bridge, ingressPolicy]]),
  };
}
