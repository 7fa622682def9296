/**
 * Checks of the data path to other nodes' pods: the kernel's state against the desired state, MTUs, other programs'
 * routes, probes.
 */

import { backendNamed } from "../../../pkg/backend/backends.ts";
import type { Finding } from "../../../pkg/backend/inspection.ts";
import { MARK_START, RTPROT_WEFT } from "../../../pkg/footprint.ts";
import { isSameAddress } from "../../../pkg/ip/address.ts";
import {
  contains,
  firstHost,
  formatPrefix,
  isSamePrefix,
  networkOf,
  overlaps,
  type Prefix,
} from "../../../pkg/ip/prefix.ts";
import { describeRoute, type ObservedRoute } from "../../../pkg/kernel/route.ts";
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import { RT_SCOPE, RT_TABLE_MAIN } from "../../../pkg/netlink/route.ts";
import { type DataPath, planDataPath } from "../../../pkg/reconcile/data-path.ts";
import { planPodBridge } from "../../../pkg/reconcile/pod-bridge.ts";
import { withNames } from "../../node/kernel.ts";
import type { Facts } from "../facts.ts";
import type { Check } from "../finding.ts";
import { backendChecks } from "./backends.ts";
import { deviceNames } from "./kernel.ts";
import { leftPodBridge } from "./pod-kinds.ts";

/** More commands than these are too many to run by hand. */
const MOST_COMMANDS = 20;

/** Returns one finding for all of `commands`, which would repair `what`. */
function different(what: string, commands: readonly string[], facts: Facts): Finding[] {
  if (commands.length === 0) return [];
  const named = commands.map((command) => withNames(command, facts.observed));
  const others = named.length > 3 ? `, and ${named.length - 3} more` : "";
  return [
    {
      severity: "error",
      seen: `${what} differs from the desired state; missing: ${named.slice(0, 3).join("; ")}${others}`,
      why: "pods on this node and on other nodes cannot reach each other, or only some of them can; a running weftd repairs this at once",
      ...(named.length <= MOST_COMMANDS
        ? { run: named.join(" && ") }
        : { advice: "start weftd, or restart it if it runs: it programs all of this again" }),
    },
  ];
}

export const dataPath: Check = {
  name: "data-path",
  group: "data path",
  about: "the kernel has the devices, routes, neighbours and forwarding entries that the node table requires",
  judge(facts) {
    if (facts.desired === undefined) return [];
    const { commands, conflicts } = wholePlan(facts.desired.dataPath, facts.observed);
    return [
      ...different("the data path to other nodes", commands, facts),
      ...conflicts.map(
        (conflict): Finding => ({
          severity: "error",
          seen: withNames(conflict, facts.observed),
          why: "packets for that subnet take another route",
          run: conflictRemedy(conflict, facts),
          advice: "remove the conflicting object",
        }),
      ),
    ];
  },
};

/** Returns all missing objects. If a device has to be created first, includes the entries that it needs then. */
function wholePlan(wanted: DataPath, observed: KernelSnapshot) {
  const first = planDataPath(wanted, observed);
  if (first.isComplete) return { commands: first.requests.map(({ text }) => text), conflicts: first.conflicts };
  const made = wanted.devices.filter((device) => {
    const link = observed.links.find(({ name }) => name === device.name);
    return link === undefined || !device.plan(link).isReady;
  });
  const gone = new Set(
    observed.links.filter(({ name }) => made.some((device) => device.name === name)).map(({ index }) => index),
  );
  const isLeft = ({ index }: { readonly index: number }) => !gone.has(index);
  const then = planDataPath(wanted, {
    links: [
      ...observed.links.filter(isLeft),
      ...made.flatMap(
        (device, at) => backendNamed(device.backend)?.inspection.devices?.made(device, NOT_YET + at) ?? [],
      ),
    ],
    addresses: observed.addresses.filter(isLeft),
    routes: observed.routes.filter(({ outputIndex = 0 }) => !gone.has(outputIndex)),
    neighbours: observed.neighbours.filter(isLeft),
    forwarding: observed.forwarding.filter(isLeft),
  });
  const naming = (text: string) =>
    made.reduce((words, { name }, at) => words.replaceAll(`index ${NOT_YET + at}`, name), text);
  return { commands: [...first.requests, ...then.requests].map(({ text }) => naming(text)), conflicts: then.conflicts };
}

/** The first index for devices that do not exist yet: greater than any index that the kernel assigns. */
const NOT_YET = 0x7000_0000;

/** A conflict quotes the route in the format of `ip route`. */
function conflictRemedy(conflict: string, { observed }: Facts): string | undefined {
  const route = /^the route "([^"]+)"/.exec(conflict)?.[1];
  return route === undefined ? undefined : `ip route del ${withNames(route, observed)}`;
}

export const podBridge: Check = {
  name: "pod-bridge",
  group: "data path",
  about: "the pods' bridge has its addresses and its ports",
  judge(facts) {
    const { attachment, ends, table, observed, desired, renumbering } = facts;
    if (attachment.bridge === undefined || table === undefined || desired === undefined) return [];
    const link = observed.links.find(({ name }) => name === attachment.bridge);
    const wanted = {
      name: attachment.bridge,
      ports: ends.ports,
      gateways: gatewaysOf(table.node.subnets),
      mac: link?.mac ?? "",
      mtu: desired.podMtu,
      hairpin: false,
      former: renumbering?.retained,
    };
    // A missing bridge has no hardware address to restore: the next pod's ADD creates the bridge.
    if (link === undefined) return [];
    const { requests, conflicts } = planPodBridge(wanted, observed);
    return [
      ...different(
        `the pods' bridge ${link.name}`,
        requests.map(({ text }) => text),
        facts,
      ),
      ...conflicts.map((seen): Finding => {
        const why = "no pod can start on this node";
        return { severity: "error", seen, why, run: `ip link del ${link.name}` };
      }),
    ];
  },
};

export function gatewaysOf(subnets: readonly Prefix[]): Prefix[] {
  return subnets.map((subnet) => ({ address: firstHost(subnet), length: subnet.length }));
}

export const bridgeAddress: Check = {
  name: "bridge-address",
  group: "data path",
  about: "the pods' bridge has no addresses except the gateways of this node's pods",
  judge({ attachment, table, observed, renumbering }) {
    const link = observed.links.find(({ name }) => name === attachment.bridge);
    if (link === undefined || table === undefined) return [];
    const gateways = gatewaysOf(table.node.subnets);
    // The check "outside-pods" reports the gateways that weftd keeps for pods outside the subnets. weftd removes them
    // with those pods.
    const former = renumbering?.retained.gateways ?? [];
    const isKept = ({ address }: Prefix) => former.some(({ gateway }) => isSameAddress(gateway.address, address));
    return observed.addresses
      .filter(({ index, scope }) => index === link.index && scope === RT_SCOPE.universe)
      .filter(({ prefix }) => !gateways.some((gateway) => isSamePrefix(gateway, prefix)) && !isKept(prefix))
      .map(({ prefix }) => ({
        severity: "warning",
        seen: `${link.name} has the address ${formatPrefix(prefix)}, which is not a gateway of this node's pods`,
        why: "packets to that network stay on this node; the address is left from an earlier subnet, or set by another program",
        run: `ip address del ${formatPrefix(prefix)} dev ${link.name}`,
      }));
  },
};

/** BR_MAX_PORTS (net/bridge/br_private.h), less the port number 0, which is not used. */
const MOST_PORTS = 1023;
const FULL = 0.9;

export const bridgePorts: Check = {
  name: "bridge-ports",
  group: "data path",
  about: "the pods' bridge has free ports",
  judge({ attachment, observed }) {
    const link = observed.links.find(({ name }) => name === attachment.bridge);
    const ports = observed.links.filter(({ masterIndex }) => link !== undefined && masterIndex === link.index).length;
    if (ports < MOST_PORTS * FULL) return [];
    return [
      {
        severity: ports >= MOST_PORTS ? "error" : "warning",
        seen: `${attachment.bridge} has ${ports} of at most ${MOST_PORTS} ports`,
        why: "once all ports are used, no more pods can be attached",
        advice: "run weftd with --attach ptp, which attaches pods without a bridge, then restart the pods",
      },
    ];
  },
};

export const mtu: Check = {
  name: "mtu",
  group: "data path",
  about: "pods' MTU is not larger than the MTU of the data path to other nodes",
  judge({ attachment, desired, observed, own }) {
    if (desired === undefined) return [];
    const why = "larger packets between nodes are fragmented or lost: small requests work, large responses hang";
    const findings: Finding[] = [];
    const links = observed.links;
    const bridge = links.find(({ name }) => name === attachment.bridge);
    const isPodLink = ({ masterIndex, alias }: (typeof links)[number]) =>
      (bridge !== undefined && masterIndex === bridge.index) || alias.startsWith(MARK_START);
    for (const link of links.filter((each) => each === bridge || isPodLink(each))) {
      if (link.mtu <= desired.podMtu) continue;
      findings.push({
        severity: "warning",
        seen: `${link.name} has an MTU of ${link.mtu}, but the data path to other nodes carries ${desired.podMtu}`,
        why,
        run: `ip link set ${link.name} mtu ${desired.podMtu}`,
        ...(link === bridge ? {} : { advice: "the interface in the pod has the same MTU: restart the pod" }),
      });
    }
    if (own !== undefined && attachment.mtu !== undefined && attachment.mtu > desired.podMtu) {
      const seen = `${own.name} gives pods an MTU of ${attachment.mtu}, but the data path to other nodes carries ${desired.podMtu}`;
      findings.push({
        severity: "warning",
        seen,
        why,
        advice: "weftd rewrites the file once it is ready; see its log",
      });
    }
    return findings;
  },
};

/** Finds routes of other programs that take packets for pods. */
export const foreignRoutes: Check = {
  name: "foreign-routes",
  group: "data path",
  about: "no other program has routes to pods' addresses",
  judge(facts) {
    const { table, observed, desired, attachment } = facts;
    if (table === undefined || desired === undefined) return [];
    const own = new Set(
      observed.links
        .filter(
          (link) =>
            link.name === attachment.bridge ||
            link === leftPodBridge(facts) ||
            deviceNames(facts).includes(link.name) ||
            link.alias.startsWith(MARK_START),
        )
        .map(({ index }) => index),
    );
    const used = [...table.node.subnets, ...table.peers.flatMap(({ subnets }) => subnets)].map(networkOf);
    const isForeign = ({ table: number, protocol, destination, outputIndex = 0 }: ObservedRoute) =>
      number === RT_TABLE_MAIN &&
      protocol !== RTPROT_WEFT &&
      !own.has(outputIndex) &&
      destination.length > 0 &&
      table.conf.networks.some(
        (network) => contains(networkOf(network), destination.address) && destination.length >= network.length,
      ) &&
      // The check "data-path" reports a route with the same destination as one of ours.
      !desired.dataPath.routes.some((route) => isSamePrefix(route.destination, destination));
    return observed.routes.filter(isForeign).map((route) => {
      const text = withNames(describeRoute(route), observed);
      const subnet = used.find((one) => overlaps(one, route.destination));
      return {
        severity: subnet === undefined ? "warning" : "error",
        seen: `the route "${text}" is not weft's, and its destination is in the pods' network`,
        why:
          subnet === undefined
            ? "a node that gets this subnet cannot be reached"
            : `packets for pods of ${formatPrefix(subnet)} take this route`,
        run: `ip ${route.destination.address.family === 6 ? "-6 " : ""}route del ${text.replace(/^-6 /, "")}`,
      };
    });
  },
};

export const subnetOverlap: Check = {
  name: "subnet-overlap",
  group: "data path",
  about: "the pods' networks do not overlap the underlay's",
  judge({ table }) {
    if (table === undefined) return [];
    const { networks } = table.node.underlay;
    return networks.flatMap((network) =>
      table.conf.networks
        .filter((pods) => overlaps(pods, networkOf(network)))
        .map(
          (pods): Finding => ({
            severity: "error",
            seen: `the pods' network ${formatPrefix(pods)} overlaps the underlay's ${formatPrefix(networkOf(network))}`,
            why: "a pod and a host may have the same address, and only one of them can be reached",
            advice: "configure another network for pods in net-conf.json, and other podCIDRs for the nodes",
          }),
        ),
    );
  },
};

export const pathMtu: Check = {
  name: "path-mtu",
  group: "data path",
  about: "packets as large as the underlay's MTU reach a few peers without fragmentation",
  judge({ probes }) {
    return probes
      .filter(({ isFullAnswered, isAnswered }) => !isFullAnswered && isAnswered)
      .map(({ peer, address, fullBytes, largestBytes }) => ({
        severity: "error",
        seen: `packets of ${fullBytes} bytes do not reach ${peer} (${address}), ${
          largestBytes === undefined ? "but small ones do" : `but packets of ${largestBytes} bytes do`
        }`,
        why: "a link between the nodes has a smaller MTU than this node's interface, so large packets of pods are lost",
        advice: `set the same MTU on all links between the nodes, or configure the smaller one in net-conf.json: "Backend": { "MTU": ${largestBytes ?? 1280} }`,
      }));
  },
};

export const tunnel: Check = {
  name: "tunnel",
  group: "data path",
  about: "a few peers answer through the tunnel device, so nothing on the path drops or corrupts its packets",
  judge(facts) {
    // A fault on this node has a finding of its own.
    if ([dataPath, ...backendChecks].some((check) => check.judge(facts).length > 0)) return [];
    return facts.probes
      .filter(({ isAnswered, tunnel: way }) => isAnswered && way?.isAnswered === false)
      .map(({ peer, address, tunnel: way }) => ({
        severity: "error",
        seen: `${peer} answers at ${address}, but not through ${way?.device} (${way?.address})`,
        why: "pods of the two nodes cannot reach each other; possible causes: a firewall drops the packets of the device, the peer has other values for this node, or a driver corrupts checksums",
        advice: `run weft doctor on ${peer}; to rule out the driver: ethtool -K ${way?.device} tx-checksum-ip-generic off`,
      }));
  },
};

export const silentPeers: Check = {
  name: "silent-peers",
  group: "data path",
  about: "a few peers answer",
  judge({ probes }) {
    const silent = probes.filter(({ isAnswered }) => !isAnswered);
    if (silent.length === 0) return [];
    const names = silent.map(({ peer, address }) => `${peer} (${address})`).join(", ");
    return [
      {
        severity: silent.length === probes.length ? "warning" : "note",
        seen: `no answer from ${names} (${probes.length} peers were probed)`,
        why: "these nodes are down or cannot be reached, or their firewalls drop packets to closed ports",
        advice: "check that these nodes are Ready; weft status probes all peers",
      },
    ];
  },
};

export const checksumOffload: Check = {
  name: "checksum-offload",
  group: "data path",
  about: "checksum offload of the devices to other nodes is on",
  judge({ offloads }) {
    return offloads
      .filter(({ isOn }) => !isOn)
      .map(({ device }) => ({
        severity: "note",
        seen: `checksum offload of ${device} is off`,
        why: "weftd switches it off if a driver corrupts checksums of encapsulated packets; computing checksums in software costs CPU time",
        run: `ethtool -K ${device} tx-checksum-ip-generic on`,
        advice: "update the driver or the firmware first; weftd tests the offload again when it starts",
      }));
  },
};
