/** A node as flanneld 0.28 leaves it, from what was recorded of one: device, entries, rules, subnet.env, conflist. */
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import type { Cluster, Machine, Mode } from "./cluster.ts";
import { OURS, REFERENCE } from "./plugin-bed.ts";

export const FLANNEL_CONFLIST = "10-flannel.conflist";
export const NETWORK = "10.244.0.0/16";

export const vtepMacOf = (number: number) => `32:89:cd:1b:fd:0${number}`;
export const subnetOf = (number: number) => `10.244.${number}.0`;

/** Reference plugins with a `flannel` before them: what is in /opt/cni/bin on such a node. */
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

/** What flanneld does when it starts; a second time it changes nothing. */
export async function runFlanneld(
  mode: Mode,
  machine: Machine,
  peers: readonly number[],
  addressOf: (number: number) => string,
) {
  const { number, address, stateDir, confDir } = machine;
  const mtu = mode === "vxlan" ? 1450 : 1500;
  const env = { NETWORK, SUBNET: `${subnetOf(number).replace(/0$/, "1")}/24`, MTU: mtu, IPMASQ: true };
  const lines = Object.entries(env).map(([key, value]) => `FLANNEL_${key}=${value}\n`);
  writeFileSync(`${stateDir}/subnet.env`, lines.join(""));
  const plugins = [
    { type: "flannel", subnetFile: "/var/lib/cni/subnet.env", delegate: { hairpinMode: true, isDefaultGateway: true } },
    { type: "portmap", capabilities: { portMappings: true } },
  ];
  writeFileSync(
    `${confDir}/${FLANNEL_CONFLIST}`,
    JSON.stringify({ name: "cbr0", cniVersion: "0.3.1", plugins }, null, 2),
  );
  await shell(machine, "sysctl -qw net.ipv4.ip_forward=1");
  if (mode === "vxlan") await shell(machine, device(number, address));
  for (const peer of peers) {
    const route = `ip route replace ${subnetOf(peer)}/24 via`;
    if (mode === "host-gw") await shell(machine, `${route} ${addressOf(peer)} dev eth0`);
    else
      await shell(
        machine,
        `ip neigh replace ${subnetOf(peer)} dev flannel.1 lladdr ${vtepMacOf(peer)} nud permanent
bridge fdb replace ${vtepMacOf(peer)} dev flannel.1 dst ${addressOf(peer)} self permanent
${route} ${subnetOf(peer)} dev flannel.1 onlink`,
      );
  }
  const isThere = "iptables-nft -t nat -S FLANNEL-POSTRTG >/dev/null 2>&1";
  await shell(machine, `${isThere} || iptables-nft-restore --noflush`, rules(`${subnetOf(number)}/24`));
}

const device = (number: number, address: string) => {
  const settings = `type vxlan id 1 dev eth0 local ${address} dstport 8472 nolearning`;
  return `ip link show flannel.1 >/dev/null 2>&1 || ip link add flannel.1 address ${vtepMacOf(number)} mtu 1450 ${settings}
ip address replace ${subnetOf(number)}/32 dev flannel.1; ip link set flannel.1 up`;
};

/** As `iptables-save` showed them. */
const rules = (subnet: string) => `*filter
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s ${NETWORK} -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d ${NETWORK} -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s ${subnet} -d ${NETWORK} -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s ${NETWORK} -d ${subnet} -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s ${NETWORK} -d ${subnet} -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s ${NETWORK} ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s ${NETWORK} -d ${NETWORK} -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
`;

/** What flanneld writes into its Node. */
export function annotate(cluster: Cluster, { name, number, address }: Machine): Promise<unknown> {
  const prefix = "flannel.alpha.coreos.com/";
  const vtep = { VNI: 1, VtepMAC: vtepMacOf(number) };
  const annotations = {
    [`${prefix}backend-data`]: JSON.stringify(cluster.mode === "vxlan" ? vtep : null),
    [`${prefix}backend-type`]: cluster.mode,
    [`${prefix}kube-subnet-manager`]: "true",
    [`${prefix}public-ip`]: address,
  };
  return cluster.api("PATCH", `/api/v1/nodes/${name}/status`, { metadata: { annotations } });
}
