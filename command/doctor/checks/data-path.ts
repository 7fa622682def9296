/** The way to other nodes' pods: what the kernel holds against what it should, MTUs, others in the way, probes. */

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

/** More than these are not for a person's hand. */
const MOST_COMMANDS = 20;

/** One finding for what `commands` would put right. */
function different(what: string, commands: readonly string[], facts: Facts): Finding[] {
  if (commands.length === 0) return [];
  const named = commands.map((command) => withNames(command, facts.observed));
  const others = named.length > 3 ? `, and ${named.length - 3} more` : "";
  return [
    {
      severity: "error",
      seen: `${what} is not as it should be; what is missing: ${named.slice(0, 3).join("; ")}${others}`,
      why: "pods here and on other nodes do not reach each other, or only some; a weftd that lives puts this back at once",
      ...(named.length <= MOST_COMMANDS
        ? { run: named.join(" && ") }
        : { advice: "start weftd, or restart it where it lives: it puts all of this back" }),
    },
  ];
}

export const dataPath: Check = {
  name: "data-path",
  group: "data path",
  about: "devices, routes, neighbours and forwarding entries are there as the node table says",
  judge(facts) {
    if (facts.desired === undefined) return [];
    const { commands, conflicts } = wholePlan(facts.desired.dataPath, facts.observed);
    return [
      ...different("the way to other nodes", commands, facts),
      ...conflicts.map(
        (conflict): Finding => ({
          severity: "error",
          seen: withNames(conflict, facts.observed),
          why: "packets for that subnet go another way",
          run: conflictRemedy(conflict, facts),
          advice: "remove what stands there",
        }),
      ),
    ];
  },
};

/** All that is missing: where a device has to be made first, what it is to hold then as well. */
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

/** Indexes of devices that are not there yet: beyond any that the kernel gives. */
const NOT_YET = 0x7000_0000;

/** A route is quoted as `ip route` writes it. */
function conflictRemedy(conflict: string, { observed }: Facts): string | undefined {
  const route = /^the route "([^"]+)"/.exec(conflict)?.[1];
  return route === undefined ? undefined : `ip route del ${withNames(route, observed)}`;
}

export const podBridge: Check = {
  name: "pod-bridge",
  group: "data path",
  about: "the pods' bridge has its address and its ports",
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
    // A bridge that is missing has no hardware address to put back: the next pod's ADD makes it.
    if (link === undefined) return [];
    const { requests, conflicts } = planPodBridge(wanted, observed);
    return [
      ...different(
        `the pods' bridge ${link.name}`,
        requests.map(({ text }) => text),
        facts,
      ),
      ...conflicts.map((seen): Finding => {
        const why = "no pod can be started on this node";
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
  about: "the pods' bridge has no addresses but the gateways of this node's pods",
  judge({ attachment, table, observed, renumbering }) {
    const link = observed.links.find(({ name }) => name === attachment.bridge);
    if (link === undefined || table === undefined) return [];
    const gateways = gatewaysOf(table.node.subnets);
    // The check "outside-pods" names what weftd keeps for pods outside the subnets and removes with them.
    const former = renumbering?.retained.gateways ?? [];
    const isKept = ({ address }: Prefix) => former.some(({ gateway }) => isSameAddress(gateway.address, address));
    return observed.addresses
      .filter(({ index, scope }) => index === link.index && scope === RT_SCOPE.universe)
      .filter(({ prefix }) => !gateways.some((gateway) => isSamePrefix(gateway, prefix)) && !isKept(prefix))
      .map(({ prefix }) => ({
        severity: "warning",
        seen: `${link.name} has the address ${formatPrefix(prefix)}, which is no gateway of this node's pods`,
        why: "an earlier subnet or another program left it: packets to that network stay on this node",
        run: `ip address del ${formatPrefix(prefix)} dev ${link.name}`,
      }));
  },
};

/** BR_MAX_PORTS (net/bridge/br_private.h): the bits of a port's number, less the one that is none. */
const MOST_PORTS = 1023;
const FULL = 0.9;

export const bridgePorts: Check = {
  name: "bridge-ports",
  group: "data path",
  about: "the pods' bridge has ports left",
  judge({ attachment, observed }) {
    const link = observed.links.find(({ name }) => name === attachment.bridge);
    const ports = observed.links.filter(({ masterIndex }) => link !== undefined && masterIndex === link.index).length;
    if (ports < MOST_PORTS * FULL) return [];
    return [
      {
        severity: ports >= MOST_PORTS ? "error" : "warning",
        seen: `${attachment.bridge} has ${ports} ports, and a bridge ends at ${MOST_PORTS}`,
        why: "no further pod can be attached then",
        advice: "have weftd attach pods without a bridge (--attach ptp), and start the pods anew",
      },
    ];
  },
};

export const mtu: Check = {
  name: "mtu",
  group: "data path",
  about: "pods' packets fit the devices to other nodes and the underlay",
  judge({ attachment, desired, observed, own }) {
    if (desired === undefined) return [];
    const why = "larger packets between nodes are cut or lost: small requests work, large answers hang";
    const findings: Finding[] = [];
    const links = observed.links;
    const bridge = links.find(({ name }) => name === attachment.bridge);
    const isPodLink = ({ masterIndex, alias }: (typeof links)[number]) =>
      (bridge !== undefined && masterIndex === bridge.index) || alias.startsWith(MARK_START);
    for (const link of links.filter((each) => each === bridge || isPodLink(each))) {
      if (link.mtu <= desired.podMtu) continue;
      findings.push({
        severity: "warning",
        seen: `${link.name} has an MTU of ${link.mtu}, and the way to other nodes carries ${desired.podMtu}`,
        why,
        run: `ip link set ${link.name} mtu ${desired.podMtu}`,
        ...(link === bridge ? {} : { advice: "the pod's own end has it, too: start the pod anew" }),
      });
    }
    if (own !== undefined && attachment.mtu !== undefined && attachment.mtu > desired.podMtu) {
      const seen = `${own.name} gives pods an MTU of ${attachment.mtu}, and the way to other nodes carries ${desired.podMtu}`;
      findings.push({ severity: "warning", seen, why, advice: "weftd rewrites it when it is ready: read its log" });
    }
    return findings;
  },
};

/** Where packets for pods are led by somebody else. */
export const foreignRoutes: Check = {
  name: "foreign-routes",
  group: "data path",
  about: "no other program's route takes pods' addresses",
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
      // One in the very place of ours is the data path's.
      !desired.dataPath.routes.some((route) => isSamePrefix(route.destination, destination));
    return observed.routes.filter(isForeign).map((route) => {
      const text = withNames(describeRoute(route), observed);
      const subnet = used.find((one) => overlaps(one, route.destination));
      return {
        severity: subnet === undefined ? "warning" : "error",
        seen: `the route "${text}" is not weft's and leads into the pods' network`,
        why:
          subnet === undefined
            ? "a node that gets this subnet is not reached"
            : `packets for pods of ${formatPrefix(subnet)} go there instead`,
        run: `ip ${route.destination.address.family === 6 ? "-6 " : ""}route del ${text.replace(/^-6 /, "")}`,
      };
    });
  },
};

export const subnetOverlap: Check = {
  name: "subnet-overlap",
  group: "data path",
  about: "the pods' networks and the underlay's are apart",
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
            why: "an address belongs to a pod and to a host: one of them is not reached",
            advice: "give the pods another network in net-conf.json, and the nodes other podCIDRs",
          }),
        ),
    );
  },
};

export const pathMtu: Check = {
  name: "path-mtu",
  group: "data path",
  about: "packets as large as the underlay's MTU reach a few peers whole",
  judge({ probes }) {
    return probes
      .filter(({ isFullAnswered, isAnswered }) => !isFullAnswered && isAnswered)
      .map(({ peer, address, fullBytes, largestBytes }) => ({
        severity: "error",
        seen: `${peer} (${address}) gets no packet of ${fullBytes} bytes, ${
          largestBytes === undefined ? "though it gets small ones" : `and gets one of ${largestBytes}`
        }`,
        why: "something between the nodes carries less than the interface says: large packets of pods vanish",
        advice: `give the links between the nodes one MTU, or say what they carry: "Backend": { "MTU": ${largestBytes ?? 1280} } in net-conf.json`,
      }));
  },
};

export const tunnel: Check = {
  name: "tunnel",
  group: "data path",
  about: "a few peers answer through the device that leads to them: nothing on the way drops or spoils its packets",
  judge(facts) {
    // What is wrong on this node is told by its own name.
    if ([dataPath, ...backendChecks].some((check) => check.judge(facts).length > 0)) return [];
    return facts.probes
      .filter(({ isAnswered, tunnel: way }) => isAnswered && way?.isAnswered === false)
      .map(({ peer, address, tunnel: way }) => ({
        severity: "error",
        seen: `${peer} answers at ${address}, and not through ${way?.device} (${way?.address})`,
        why: "pods of the two nodes do not reach each other: a firewall drops what the device sends, the peer knows this node by other values, or a driver spoils checksums",
        advice: `on ${peer} run weft doctor; try: ethtool -K ${way?.device} tx-checksum-ip-generic off`,
      }));
  },
};

export const silentPeers: Check = {
  name: "silent-peers",
  group: "data path",
  about: "a few peers answer at all",
  judge({ probes }) {
    const silent = probes.filter(({ isAnswered }) => !isAnswered);
    if (silent.length === 0) return [];
    const names = silent.map(({ peer, address }) => `${peer} (${address})`).join(", ");
    return [
      {
        severity: silent.length === probes.length ? "warning" : "note",
        seen: `no answer from ${names}, of ${probes.length} peers that were asked`,
        why: "they are down, or not reached, or a firewall there keeps quiet about closed ports",
        advice: "look whether they are Ready; weft status asks all of them",
      },
    ];
  },
};

export const checksumOffload: Check = {
  name: "checksum-offload",
  group: "data path",
  about: "the hardware fills in the checksums of packets that go through a device",
  judge({ offloads }) {
    return offloads
      .filter(({ isOn }) => !isOn)
      .map(({ device }) => ({
        severity: "note",
        seen: `checksum offload of ${device} is off`,
        why: "weftd switches it off where a driver spoils checksums inside such packets; it costs processor time",
        run: `ethtool -K ${device} tx-checksum-ip-generic on`,
        advice: "with a newer driver or firmware; weftd tries again when it starts",
      }));
  },
};
