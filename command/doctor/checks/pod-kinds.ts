/** Pods that were attached by another plugin than new ones are: what they need, and what is left of them. */
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

/** The pods' bridge where no pod uses it and no new one will. */
export function leftPodBridge({ attachment, table, observed }: Facts): Link | undefined {
  if (attachment.bridge !== undefined || table === undefined) return undefined;
  const gateways = table.node.subnets.map((subnet) => ({ address: firstHost(subnet), length: subnet.length }));
  return leftBridge({ name: DEFAULT_BRIDGE, gateways }, observed);
}

export const podKinds: Check = {
  name: "pod-kinds",
  group: "data path",
  about: "pods on the bridge and pods with links of their own reach each other",
  judge(facts) {
    const { attachment, ends, families, observed, sysctl } = facts;
    const left = leftPodBridge(facts);
    if (left !== undefined) return [leftFinding(left)];
    const bridge = observed.links.find(({ name }) => name === attachment.bridge);
    if (bridge === undefined || ends.ports.size === 0 || ends.routed.size === 0) return [];
    const why = `pods on ${bridge.name} ask there for pods that have links of their own, and get no answer`;
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
        seen: `${count(ends.ports.size)} on ${bridge.name}, and ${count(ends.routed.size)} by a link of its own`,
        why: `the way in which weftd attaches pods (--attach) was changed to ${attachment.plugin}, and running pods keep theirs`,
        advice: "start the older ones anew when it suits; until then the node forwards between the two kinds",
      },
    ];
  },
};

function leftFinding({ name }: Link): Finding {
  return {
    severity: "warning",
    seen: `the bridge ${name} holds the gateway's address, and no pod is on it`,
    why: "weftd attaches pods without a bridge now, and removes this one while it lives",
    run: `ip link del ${name}`,
  };
}

/** One for all of them: a node may have hundreds. */
function entriesFinding(missing: readonly string[], { name }: Link, why: string): Finding[] {
  if (missing.length === 0) return [];
  const others = missing.length > 1 ? `, and ${missing.length - 1} more` : "";
  const seen = `${name} does not answer for pods' IPv6 addresses; what is missing: ${missing[0]}${others}`;
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
