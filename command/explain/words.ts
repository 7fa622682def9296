/** What explain calls things. */
import { formatPrefix, networkOf, type Prefix } from "../../pkg/ip/prefix.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { RTN_BLACKHOLE, RTN_PROHIBIT, RTN_UNREACHABLE } from "../../pkg/netlink/route.ts";
import { placeText } from "../../pkg/nft/ruleset.ts";
import type { Ending } from "../../pkg/packet-walk/ruleset.ts";
import type { Owner } from "./knowledge.ts";

/** Routes that lead nowhere (RTN_*): as `ip route` calls them, and what they do. */
export const BLOCKING: ReadonlyMap<number, { readonly name: string; readonly deed: string }> = new Map([
  [RTN_BLACKHOLE, { name: "blackhole", deed: "swallows it" }],
  [RTN_UNREACHABLE, { name: "unreachable", deed: "refuses it: the sender hears that the host is unreachable" }],
  [RTN_PROHIBIT, { name: "prohibit", deed: "refuses it: the sender hears that this is prohibited" }],
]);

export function noRouteText(code: string, input: Link | undefined): string {
  switch (code) {
    case "ENETUNREACH":
      return "here the packet ends: no route leads there";
    case "EHOSTUNREACH":
      return input === undefined
        ? "here the packet ends: no route leads there"
        : `here the packet ends: no route leads there, or nothing is forwarded that comes by ${input.name}`;
    case "EXDEV":
      return `here the packet ends: reverse path filtering of ${input?.name} refuses its source`;
    case "EINVAL":
      return `here the packet ends: the kernel takes no such source by ${input?.name ?? "this way"}`;
    default:
      return `here the packet ends: the kernel answers ${code}`;
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
    snat: "give it another source",
    dnat: "give it another destination",
    redirect: "redirect it",
  }[action];
}

export function showChain({ chain }: Ending): string {
  return `nft -a list chain ${placeText(chain)}`;
}
