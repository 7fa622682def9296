/**
 * A node's pod network made with ip, bridge and nft: the devices, routes and rules that flannel or a careful operator
 * makes, without any program of weft.
 */
import { VXLAN_OVERHEAD } from "../../../pkg/backend/vxlan/overlay.ts";
import type { Family } from "../../../pkg/ip/address.ts";

export type Mode = "vxlan" | "host-gw";

/** What a node needs to know of one family, of itself and of the other node. */
export interface End {
  readonly family: Family;
  /** The addresses of both nodes on the underlay. */
  readonly node: string;
  readonly otherNode: string;
  /** The pod subnets of both nodes. */
  readonly subnet: string;
  readonly otherSubnet: string;
}

export interface HandMadeNode {
  readonly mode: Mode;
  /** The node's number, less than 256; both numbers make the hardware addresses. */
  readonly number: number;
  readonly otherNumber: number;
  /** The name of the pod's namespace, which is reachable from the node. */
  readonly pod: string;
  readonly ends: readonly End[];
  /**
   * True if the node has the rules and settings of a Kubernetes node with flannel: masquerading, which tracks
   * connections, and IP rules for packets that pass a bridge. kubeadm requires the latter.
   */
  readonly hasRules: boolean;
}

const UNDERLAY_MTU = 1500;
const VTEP: Readonly<Record<Family, string>> = { 4: "flannel.1", 6: "flannel-v6.1" };
/** Both families of pods use the smaller MTU. */
const POD_MTU: Readonly<Record<Mode, number>> = { vxlan: UNDERLAY_MTU - VXLAN_OVERHEAD[6], "host-gw": UNDERLAY_MTU };
/** All pods of both families, as in the cluster's configuration. */
const RANGES: Readonly<Record<Family, string>> = { 4: "10.244.0.0/16", 6: "fd00:10:244::/48" };

/** The pod's address: the second of the subnet. The first belongs to the bridge. */
export function podAddress({ family, subnet }: Pick<End, "family" | "subnet">): string {
  return nth({ family, subnet }, 2);
}

function nth({ family, subnet }: Pick<End, "family" | "subnet">, at: number): string {
  const [base = ""] = subnet.split("/");
  return family === 4 ? base.replace(/\.0$/, `.${at}`) : `${base}${at}`;
}

const length = (subnet: string) => subnet.split("/")[1];
const hex = (number: number) => number.toString(16).padStart(2, "0");
/** Locally administered; of one node and family. */
const macOf = (number: number, family: Family) => `02:00:00:00:0${family}:${hex(number)}`;

/** Returns the shell commands that make the node's network, for a shell in the node's namespace. */
export function handMade({ mode, number, otherNumber, pod, ends, hasRules }: HandMadeNode): readonly string[] {
  const mtu = POD_MTU[mode];
  return [
    "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
    `sysctl -qw net.bridge.bridge-nf-call-iptables=${hasRules ? 1 : 0} net.bridge.bridge-nf-call-ip6tables=${hasRules ? 1 : 0}`,
    `ip link add cni0 mtu ${mtu} type bridge`,
    "ip link set cni0 up",
    `ip link add pod mtu ${mtu} type veth peer name eth0 mtu ${mtu} netns ${pod}`,
    "ip link set pod master cni0 up",
    `ip -n ${pod} link set eth0 up`,
    ...ends.flatMap((end) => [...podCommands(end, pod), ...crossing(mode, number, otherNumber, end)]),
    ...(hasRules ? [`nft '${rules(ends)}'`] : []),
  ];
}

function podCommands(end: End, pod: string): readonly string[] {
  const nodad = end.family === 6 ? " nodad" : "";
  return [
    `ip address add ${nth(end, 1)}/${length(end.subnet)} dev cni0${nodad}`,
    `ip -n ${pod} address add ${podAddress(end)}/${length(end.subnet)} dev eth0${nodad}`,
    `ip -n ${pod} -${end.family} route add default via ${nth(end, 1)}`,
  ];
}

/** The way to the other node's pods. */
function crossing(mode: Mode, number: number, otherNumber: number, end: End): readonly string[] {
  const { family, node, otherNode, subnet, otherSubnet } = end;
  if (mode === "host-gw") return [`ip -${family} route add ${otherSubnet} via ${otherNode}`];
  const device = VTEP[family];
  const [network = "", gateway = ""] = [subnet, otherSubnet].map((text) => text.split("/")[0]);
  const peer = macOf(otherNumber, family);
  return [
    `ip link add ${device} address ${macOf(number, family)} mtu ${UNDERLAY_MTU - VXLAN_OVERHEAD[family]} ` +
      `type vxlan id 1 dstport 8472 local ${node} dev eth0 nolearning`,
    `ip address add ${network}/${family === 4 ? 32 : 128} dev ${device}`,
    `ip link set ${device} up`,
    `ip neigh add ${gateway} lladdr ${peer} dev ${device}`,
    `bridge fdb add ${peer} dev ${device} dst ${otherNode}`,
    `ip -${family} route add ${otherSubnet} via ${gateway} dev ${device} onlink`,
  ];
}

/** flannel's rules: pods among each other keep their addresses and pass; to the outside, the node's address is used. */
function rules(ends: readonly End[]): string {
  const matches = ends.map(({ family }) => {
    const [ip, range] = [family === 4 ? "ip" : "ip6", RANGES[family]];
    return { ip, range, multicast: family === 4 ? "224.0.0.0/4" : "ff00::/8" };
  });
  const masquerade = matches.flatMap(({ ip, range, multicast }) => [
    `${ip} saddr ${range} ${ip} daddr ${range} return;`,
    `${ip} saddr ${range} ${ip} daddr != ${multicast} masquerade fully-random;`,
  ]);
  const forward = matches.flatMap(({ ip, range }) => [`${ip} saddr ${range} accept;`, `${ip} daddr ${range} accept;`]);
  return [
    "table inet by-hand {",
    `chain postrouting { type nat hook postrouting priority srcnat; ${masquerade.join(" ")} };`,
    `chain forward { type filter hook forward priority filter; ${forward.join(" ")} };`,
    "}",
  ].join(" ");
}
