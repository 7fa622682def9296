/** A node as flanneld 0.28 leaves it, recorded from a real one: device, entries, rules, subnet.env, conflist. */
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import type { Cluster, Machine, Mode } from "./cluster.ts";
import { OURS, REFERENCE } from "./plugin-bed.ts";

export const FLANNEL_CONFLIST = "10-flannel.conflist";

/** The objects that flanneld makes for one family of pods, over an underlay of the same family. */
interface FamilyWays {
  readonly ip: string;
  readonly xtables: string;
  readonly env: string;
  readonly dataKey: string;
  readonly addressKey: string;
  readonly network: string;
  readonly device: string;
  readonly mtu: number;
  readonly multicast: string;
  readonly forwarding: string;
  subnet(number: number): string;
  /** The subnet's first address: the node's own on the device. */
  vtep(number: number): string;
  host(number: number): string;
  mac(number: number): string;
}

const WAYS: Readonly<Record<"ipv4" | "ipv6", FamilyWays>> = {
  ipv4: {
    ...{ ip: "ip -4", xtables: "iptables", env: "FLANNEL_", network: "10.244.0.0/16", device: "flannel.1", mtu: 1450 },
    ...{ multicast: "224.0.0.0/4", forwarding: "net.ipv4.ip_forward" },
    ...{ dataKey: "backend-data", addressKey: "public-ip" },
    subnet: (number) => `10.244.${number}.0/24`,
    vtep: (number) => `10.244.${number}.0`,
    host: (number) => `192.0.2.${number}`,
    mac: (number) => `32:89:cd:1b:fd:0${number}`,
  },
  ipv6: {
    ...{ ip: "ip -6", xtables: "ip6tables", env: "FLANNEL_IPV6_", network: "fd00:10:244::/56", device: "flannel-v6.1" },
    ...{ mtu: 1430, multicast: "ff00::/8", forwarding: "net.ipv6.conf.all.forwarding" },
    ...{ dataKey: "backend-v6-data", addressKey: "public-ipv6" },
    subnet: (number) => `fd00:10:244:${number}::/64`,
    vtep: (number) => `fd00:10:244:${number}::`,
    host: (number) => `2001:db8::${number}`,
    mac: (number) => `ce:41:b7:d1:b7:0${number}`,
  },
};

export function waysOf(cluster: Cluster): readonly FamilyWays[] {
  return cluster.families === "dual" ? [WAYS.ipv4, WAYS.ipv6] : [WAYS[cluster.families]];
}

/** Reference plugins and a `flannel` that calls them: the contents of /opt/cni/bin on such a node. */
export function flannelBin({ stateDir }: Machine): string {
  const bin = `${stateDir}/bin`;
  mkdirSync(bin);
  for (const name of ["bridge", "host-local", "portmap", "loopback"])
    symlinkSync(`${REFERENCE}/${name}`, `${bin}/${name}`);
  copyFileSync(`${OURS}/weft`, `${bin}/flannel`);
  return bin;
}

export async function shell({ inside }: Machine, script: string, input = ""): Promise<string> {
  const { status, stdout, stderr } = await inside.run("sh", ["-euc", script], input);
  if (status !== 0) throw new Error(`${script}: exit status ${status}: ${stderr || stdout}`);
  return stdout;
}

/** Does what flanneld does at its start. A second call changes nothing. */
export async function runFlanneld(cluster: Cluster, machine: Machine, peers: readonly number[]): Promise<void> {
  const { stateDir, confDir } = machine;
  const ways = waysOf(cluster);
  const env = ways.flatMap(({ env: start, network, vtep, subnet }) => {
    const first = subnet(machine.number).replace(vtep(machine.number), `${vtep(machine.number).replace(/0$/, "")}1`);
    return [`${start}NETWORK=${network}`, `${start}SUBNET=${first}`];
  });
  const mtu = cluster.mode === "vxlan" ? 1450 : 1500;
  writeFileSync(`${stateDir}/subnet.env`, [...env, `FLANNEL_MTU=${mtu}`, "FLANNEL_IPMASQ=true", ""].join("\n"));
  const plugins = [
    { type: "flannel", subnetFile: "/var/lib/cni/subnet.env", delegate: { hairpinMode: true, isDefaultGateway: true } },
    { type: "portmap", capabilities: { portMappings: true } },
  ];
  writeFileSync(
    `${confDir}/${FLANNEL_CONFLIST}`,
    JSON.stringify({ name: "cbr0", cniVersion: "0.3.1", plugins }, null, 2),
  );
  for (const way of ways) {
    await shell(machine, `sysctl -qw ${way.forwarding}=1`);
    if (cluster.mode === "vxlan") await shell(machine, device(way, machine.number));
    for (const peer of peers) await shell(machine, peerEntries(way, cluster.mode, peer));
    // host-gw tests represent the hosts with the legacy iptables.
    const xtables = `${way.xtables}-${cluster.mode === "host-gw" ? "legacy" : "nft"}`;
    const isThere = `${xtables} -t nat -S FLANNEL-POSTRTG >/dev/null 2>&1`;
    await shell(machine, `${isThere} || ${xtables}-restore --noflush`, rules(way, machine.number));
  }
}

function device({ ip, device: name, mac, mtu, host, vtep }: FamilyWays, number: number): string {
  const settings = `type vxlan id 1 dev eth0 local ${host(number)} dstport 8472 nolearning`;
  return `ip link show ${name} >/dev/null 2>&1 || ip link add ${name} address ${mac(number)} mtu ${mtu} ${settings}
${ip} address replace ${vtep(number)} dev ${name}; ip link set ${name} up`;
}

function peerEntries({ ip, device: name, subnet, vtep, mac, host }: FamilyWays, mode: Mode, peer: number): string {
  if (mode === "host-gw") return `${ip} route replace ${subnet(peer)} via ${host(peer)} dev eth0`;
  return `${ip} neigh replace ${vtep(peer)} dev ${name} lladdr ${mac(peer)} nud permanent
bridge fdb replace ${mac(peer)} dev ${name} dst ${host(peer)} self permanent
${ip} route replace ${subnet(peer)} via ${vtep(peer)} dev ${name} onlink`;
}

/** As `iptables-save` showed them. */
function rules({ network, multicast, subnet: subnetOf }: FamilyWays, number: number): string {
  const subnet = subnetOf(number);
  return `*filter
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s ${network} -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d ${network} -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s ${subnet} -d ${network} -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s ${network} -d ${subnet} -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s ${network} -d ${subnet} -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s ${network} ! -d ${multicast} -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s ${network} -d ${network} -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
`;
}

/** Writes flanneld's annotations into its Node. */
export function annotate(cluster: Cluster, { name, number }: Machine): Promise<unknown> {
  const annotations = waysOf(cluster).flatMap(({ host, mac, dataKey, addressKey }) => {
    const vtep = cluster.mode === "vxlan" ? { VNI: 1, VtepMAC: mac(number) } : null;
    return [
      [dataKey, JSON.stringify(vtep)],
      [addressKey, host(number)],
    ];
  });
  const all = [...annotations, ["backend-type", cluster.mode], ["kube-subnet-manager", "true"]];
  return cluster.api("PATCH", `/api/v1/nodes/${name}/status`, {
    metadata: {
      annotations: Object.fromEntries(all.map(([key, value]) => [`flannel.alpha.coreos.com/${key}`, value])),
    },
  });
}
