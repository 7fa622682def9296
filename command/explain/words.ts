/** The texts of explain. */
import { formatPrefix, networkOf, type Prefix } from "../../pkg/ip/prefix.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { RTN_BLACKHOLE, RTN_PROHIBIT, RTN_UNREACHABLE } from "../../pkg/netlink/route.ts";
import { placeText } from "../../pkg/nft/ruleset.ts";
import type { Ending } from "../../pkg/packet-walk/ruleset.ts";
import type { Owner } from "./knowledge.ts";

/** Routes that drop or reject packets (RTN_*): the name in `ip route`, and the effect. */
export const BLOCKING: ReadonlyMap<number, { readonly name: string; readonly deed: string }> = new Map([
  [RTN_BLACKHOLE, { name: "blackhole", deed: "drops it" }],
  [RTN_UNREACHABLE, { name: "unreachable", deed: "rejects it, and reports the host as unreachable to the sender" }],
  [RTN_PROHIBIT, { name: "prohibit", deed: "rejects it, and reports the destination as prohibited to the sender" }],
]);

export function noRouteText(code: string, input: Link | undefined): string {
  switch (code) {
    case "ENETUNREACH":
      return "the packet ends here: no route to the destination";
    case "EHOSTUNREACH":
      return input === undefined
        ? "the packet ends here: no route to the destination"
        : `the packet ends here: no route to the destination, or forwarding is off on ${input.name}`;
    case "EXDEV":
      return `the packet ends here: reverse path filtering of ${input?.name} refuses its source`;
    case "EINVAL":
      return `the packet ends here: the kernel refuses this source${input === undefined ? "" : ` on ${input.name}`}`;
    default:
      return `the packet ends here: the kernel returns ${code}`;
  }
}

export function subnetText(subnet: Prefix | undefined): string {
  return subnet === undefined ? "" : formatPrefix(networkOf(subnet));
}

export function podText(address: string, { containerId, ifName }: Owner): string {
  return `the pod at ${address} (container ${containerId || "unknown"}${ifName === undefined ? "" : `, ${ifName}`})`;
}

export function endingText({ chain, rule }: Ending): string {
  const comment = rule?.comment === undefined ? "" : ` "${rule.comment}"`;
  return rule === undefined
    ? `the policy of ${placeText(chain)}`
    : `the rule${comment} of ${placeText(chain)} (handle ${rule.handle})`;
}

export function deedText({ action }: Ending): string {
  return {
    accept: "accept it",
    drop: "drop it",
    reject: "reject it",
    masquerade: "masquerade it",
    snat: "translate its source",
    dnat: "translate its destination",
    redirect: "redirect it",
  }[action];
}

export function showChain({ chain }: Ending): string {
  return `nft -a list chain ${placeText(chain)}`;
}
