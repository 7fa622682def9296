/** Pods of the node on a bridge, whose frames the kernel passes through IP rules (br_netfilter). */

import type { Cleanup } from "../../live/harness/cleanup.ts";
import { succeed } from "../../live/harness/command.ts";
import { Inside } from "../../live/harness/inside.ts";
import { makeNamespace } from "../../live/harness/namespace.ts";

export interface BridgedPod {
  readonly inside: Inside;
  readonly addresses: { readonly 4: string; readonly 6: string };
}

const FAMILIES = [4, 6] as const;
export const GATEWAYS = { 4: "10.0.20.1", 6: "fd77:77::a00:1401" } as const;
const LENGTHS = { 4: 24, 6: 120 } as const;
const addressesOf = (number: number) => ({
  4: `10.0.20.${number}`,
  6: `fd77:77::a00:14${String(number).padStart(2, "0")}`,
});

/** The bridge is `cni0` with hairpin mode, as the plugin `bridge` makes it. The node must be `node`. */
export async function makeBridgedPods(node: string, count: number, cleanup: Cleanup): Promise<readonly BridgedPod[]> {
  const ip = (namespace: string, ...args: string[]) => succeed("ip", ["-n", namespace, ...args]);
  await ip(node, "link", "add", "cni0", "type", "bridge");
  cleanup.push(async () => void (await ip(node, "link", "del", "cni0")));
  await ip(node, "link", "set", "cni0", "up");
  for (const file of ["iptables", "ip6tables"]) {
    await succeed("ip", ["netns", "exec", node, "sysctl", "-qw", `net.bridge.bridge-nf-call-${file}=1`]);
  }
  for (const family of FAMILIES) {
    await ip(node, "address", "add", `${GATEWAYS[family]}/${LENGTHS[family]}`, "dev", "cni0", "nodad");
  }
  const pods: BridgedPod[] = [];
  for (let number = 2; number < 2 + count; number++) {
    const namespace = await makeNamespace(`${node.split("-").pop()}-pod${number}`, cleanup);
    const port = `pod${number}`;
    await ip(node, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace.name);
    await ip(node, "link", "set", port, "master", "cni0", "up");
    await succeed("ip", ["netns", "exec", node, "bridge", "link", "set", "dev", port, "hairpin", "on"]);
    const addresses = addressesOf(number);
    for (const family of FAMILIES) {
      await ip(namespace.name, "address", "add", `${addresses[family]}/${LENGTHS[family]}`, "dev", "eth0", "nodad");
    }
    await ip(namespace.name, "link", "set", "eth0", "up");
    for (const family of FAMILIES) {
      await ip(namespace.name, `-${family}`, "route", "add", "default", "via", GATEWAYS[family]);
    }
    pods.push({ inside: await Inside.enter(namespace, cleanup), addresses });
  }
  return pods;
}
