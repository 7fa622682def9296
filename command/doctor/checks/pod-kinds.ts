/** Checks of pods that were attached by another plugin than new pods are: their requirements, and leftovers. */
import type { Finding } from "../../../pkg/backend/inspection.ts";
import { DEFAULT_BRIDGE } from "../../../pkg/footprint.ts";
import { firstHost } from "../../../pkg/ip/prefix.ts";
import type { Link } from "../../../pkg/kernel/link.ts";
import { planProxies, proxySettings } from "../../../pkg/kernel/neighbour-proxy.ts";
import { leftBridge } from "../../../pkg/reconcile/pod-bridge.ts";
import { isHostRoute } from "../../../pkg/reconcile/pod-ends.ts";
import { withNames } from "../../node/kernel.ts";
import type { Facts } from "../facts.ts";
import type { Check } from "../finding.ts";
import { wrong } from "./kernel.ts";

/** Returns the pods' bridge if no pod uses it and no new pod will. */
export function leftPodBridge({ attachment, table, observed }: Facts): Link | undefined {
  if (attachment.bridge !== undefined || table === undefined) return undefined;
  const gateways = table.node.subnets.map((subnet) => ({ address: firstHost(subnet), length: subnet.length }));
  return leftBridge({ name: DEFAULT_BRIDGE, gateways }, observed);
}

export const podKinds: Check = {
  name: "pod-kinds",
  group: "data path",
  about: "pods on the bridge can reach pods with their own links (ptp), and the reverse",
  judge(facts) {
    const { attachment, ends, families, observed, sysctl } = facts;
    const left = leftPodBridge(facts);
    if (left !== undefined) return [leftFinding(left)];
    const bridge = observed.links.find(({ name }) => name === attachment.bridge);
    if (bridge === undefined || ends.ports.size === 0 || ends.routed.size === 0) return [];
    const why = `pods on ${bridge.name} get no ARP or neighbour replies for pods with their own links, and cannot reach them`;
    const settings = [...families].flatMap((family) => proxySettings(bridge.name, family));
    const isNeeded = ({ value }: { readonly value: string }) => value === "1";
    return [
      ...settings.filter(isNeeded).flatMap(({ name, value }): Finding[] => {
        const held = sysctl(name);
        return held === undefined || held === value ? [] : [wrong(name, held, value, why)];
      }),
      ...entriesFinding(missingEntries(facts, bridge), bridge, why),
      {
        severity: "note",
        seen: `${count(ends.ports.size)} to ${bridge.name}, and ${count(ends.routed.size)} by their own links`,
        why: `weftd's --attach was changed to ${attachment.plugin}, and running pods keep their old attachment`,
        advice:
          "restart the older pods at a convenient time; until then, the node forwards packets between the two kinds",
      },
    ];
  },
};

function leftFinding({ name }: Link): Finding {
  return {
    severity: "warning",
    seen: `the bridge ${name} has the gateway's address, but no pod is attached to it`,
    why: "weftd now attaches pods without a bridge; a running weftd removes this bridge",
    run: `ip link del ${name}`,
  };
}

/** Returns one finding for all entries, since a node may have hundreds. */
function entriesFinding(missing: readonly string[], { name }: Link, why: string): Finding[] {
  if (missing.length === 0) return [];
  const others = missing.length > 1 ? `, and ${missing.length - 1} more` : "";
  const seen = `${name} does not answer for pods' IPv6 addresses; missing: ${missing[0]}${others}`;
  return [{ severity: "error", seen, why, run: missing.join(" && ") }];
}

function count(pods: number): string {
  return pods === 1 ? "1 pod is attached" : `${pods} pods are attached`;
}

function missingEntries({ ends, families, observed, proxies, table }: Facts, bridge: Link): string[] {
  if (!families.has(6) || table === undefined) return [];
  const routed = new Set(observed.links.filter(({ alias }) => ends.routed.has(alias)).map(({ index }) => index));
  const addresses = observed.routes
    .filter((route) => isHostRoute(route) && routed.has(route.outputIndex ?? 0))
    .map(({ destination }) => destination.address)
    .filter(({ family }) => family === 6);
  return planProxies(bridge.index, addresses, proxies)
    .filter(({ identifier }) => identifier === "RTM_NEWNEIGH")
    .map(({ text }) => withNames(text, observed));
}
