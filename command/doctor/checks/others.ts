/** Checks of other programs that configure the node's network, or did. */

import type { Finding } from "../../../pkg/backend/inspection.ts";
import { DAEMON_MARK } from "../../../pkg/footprint.ts";
import type { Check } from "../finding.ts";
import { deviceNames } from "./kernel.ts";

/** Devices that other network plugins create, and the plugins' names. */
const DEVICES: readonly (readonly [RegExp, string])[] = [
  [/^cali[0-9a-f]+$|^vxlan(-v6)?\.calico$/, "Calico"],
  [/^cilium_/, "Cilium"],
  [/^weave$|^vethwe-/, "Weave Net"],
  [/^kube-bridge$/, "kube-router"],
  [/^antrea-/, "Antrea"],
  [/^ovn-k8s-/, "OVN-Kubernetes"],
  [/^flannel(-v6)?[.-]/, "flannel"],
];

export const leftDevices: Check = {
  name: "left-devices",
  group: "other programs",
  about: "no devices of other network plugins are left",
  judge(facts) {
    const own = deviceNames(facts);
    return facts.observed.links.flatMap(({ name, alias }): Finding[] => {
      const owner = DEVICES.find(([pattern]) => pattern.test(name))?.[1];
      if (owner === undefined || own.includes(name) || alias.startsWith(DAEMON_MARK)) return [];
      return [
        {
          severity: "warning",
          seen: `the device ${name} has a name that ${owner} uses`,
          why: `if ${owner} no longer runs on this node, routes and rules for the device may take pods' packets; if it still runs, two programs attach pods`,
          run: `ip link del ${name}`,
        },
      ];
    });
  },
};

export const systemdNetworkd: Check = {
  name: "systemd-networkd",
  group: "other programs",
  about: "systemd-networkd keeps routes and rules of other programs",
  judge({ networkd }) {
    const { isRunning, managesForeignRoutes, managesForeignRules } = networkd;
    const settings = [
      ...(managesForeignRoutes ? ["ManageForeignRoutes"] : []),
      ...(managesForeignRules ? ["ManageForeignRoutingPolicyRules"] : []),
    ];
    if (!isRunning || settings.length === 0) return [];
    const file = "/etc/systemd/networkd.conf.d/50-weft.conf";
    const content = `[Network]\\n${settings.map((setting) => `${setting}=no\\n`).join("")}`;
    return [
      {
        severity: "warning",
        seen: `systemd-networkd runs with ${settings.join(" and ")}`,
        why: "when it starts, or a link changes, systemd-networkd removes routes of other programs; pods of other nodes cannot be reached until weftd has restored the routes",
        run: `mkdir -p /etc/systemd/networkd.conf.d && printf '${content}' >${file} && systemctl restart systemd-networkd`,
      },
    ];
  },
};

export const networkManager: Check = {
  name: "network-manager",
  group: "other programs",
  about: "NetworkManager does not manage weft's devices",
  judge(facts) {
    const { isRunning, unmanaged } = facts.networkManager;
    if (!isRunning) return [];
    const { bridge } = facts.attachment;
    const devices = [...(bridge === undefined ? [] : [bridge]), ...deviceNames(facts)];
    const managed = devices.filter((device) => !unmanaged.some((pattern) => isMatch(pattern, device)));
    if (managed.length === 0) return [];
    const file = "/etc/NetworkManager/conf.d/50-weft.conf";
    const patterns = [...(bridge === undefined ? [] : [bridge]), "flannel*", "weft*", "veth*"];
    const value = patterns.map((pattern) => `interface-name:${pattern}`).join(";");
    return [
      {
        severity: "warning",
        seen: `NetworkManager runs, and its configuration does not exclude ${managed.join(", ")}`,
        why: "it may set these devices down, or remove their addresses and routes",
        run: `mkdir -p /etc/NetworkManager/conf.d && printf '[keyfile]\\nunmanaged-devices+=${value}\\n' >${file} && nmcli general reload`,
      },
    ];
  },
};

/** Matches a shell pattern with * and ?, as NetworkManager does. */
function isMatch(pattern: string, name: string): boolean {
  const expression = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${expression}$`).test(name);
}

/** Finds network configurations that are not in use. They show which programs ran on the node. */
export const otherNetworks: Check = {
  name: "other-networks",
  group: "other programs",
  about: "no other network configuration is installed",
  judge({ networks, own }) {
    return networks.files
      .filter(({ name, problem }) => own !== undefined && name > own.name && problem === undefined)
      .map(({ name, network }) => ({
        severity: "note",
        seen: `${networks.path}/${name} (network ${network}) is installed, and sorts after ${own?.name}`,
        why: "if weft's configuration is ever missing, the runtime attaches pods to that network",
        run: `mv ${networks.path}/${name} ${networks.path}/${name}.disabled`,
      }));
  },
};
