import { HANDED_BACK, type Table } from "../table.ts";

const MAC = "c2:11:22:33:44:55";
const ATTRIBUTES = { mac: MAC, mtu: 1454, promisc: true, allmulti: true, txQLen: 777 };
const ARP_FILTER = { "net.ipv4.conf.IFNAME.arp_filter": "1" };
const RMEM = { "net.ipv4.tcp_rmem": "4096 5000 6000" };

const setup = [
  {
    in: "pod",
    run: "ip link add eth0 address c2:00:00:00:00:99 type veth peer name far0 address c2:00:00:00:00:98; ip link set far0 up; ip link set eth0 up",
  },
] as const;
const prevResult = {
  interfaces: [{ name: "far0" }, { name: "eth0", mac: "c2:00:00:00:00:99", sandbox: "$POD" }],
  ips: [{ address: "10.22.0.2/24", interface: 1 }],
};

export const table: Table = {
  plugin: "tuning",
  cases: [
    {
      name: "added by weft, checked and deleted by the reference",
      conf: { ...ATTRIBUTES, sysctl: ARP_FILTER, prevResult },
      setup,
      steps: HANDED_BACK,
    },
    {
      name: "attributes and a setting",
      conf: { ...ATTRIBUTES, sysctl: ARP_FILTER, prevResult },
      setup,
      versions: ["0.3.0", "0.4.0", "1.1.0"],
    },
    { name: "nothing", conf: { prevResult }, setup },
    {
      name: "a MAC that a later plugin has changed and reported",
      conf: { mac: MAC, prevResult },
      setup,
      steps: ["ADD", { verb: "CHECK", conf: { mac: "c2:00:00:00:00:03" } }, "DEL"],
    },
    { name: "a setting with slashes", conf: { sysctl: { "net/ipv4/conf/IFNAME/arp_filter": "1" }, prevResult }, setup },
    { name: "a setting of several numbers", conf: { sysctl: RMEM, prevResult }, setup },
    { name: "a queue length of zero, and no multicast", conf: { txQLen: 0, allmulti: false, prevResult }, setup },
    { name: "attributes that keep their values", conf: { promisc: false, mtu: 0, mac: "", prevResult }, setup },
    {
      name: "args.cni overrides everything",
      conf: {
        ...{ ...ATTRIBUTES, prevResult, runtimeConfig: { mac: "c2:00:00:00:00:03" } },
        args: { cni: { mac: "c2:00:00:00:00:04", mtu: 1400, txQLen: 5, promisc: false, allmulti: false } },
      },
      args: "MAC=c2:00:00:00:00:01",
      setup,
    },
    {
      name: "args.cni that cancels the configuration",
      conf: { ...ATTRIBUTES, prevResult, args: { cni: { mac: "", mtu: 0 } } },
      setup,
    },
    {
      name: "the runtime's MAC overrides CNI_ARGS",
      conf: { mac: MAC, prevResult, runtimeConfig: { mac: "c2:00:00:00:00:03" } },
      args: "MAC=c2:00:00:00:00:01",
      setup,
    },
    {
      name: "CNI_ARGS overrides the configuration",
      conf: { mac: MAC, prevResult },
      args: "IgnoreUnknown=1;K8S_POD_NAME=p;MAC=c2:00:00:00:00:01",
      setup,
    },
    {
      name: "settings of args.cni override the configuration's",
      conf: { sysctl: { "net.ipv4.tcp_rmem": "1 2 3" }, prevResult, args: { cni: { sysctl: RMEM } } },
      setup,
      steps: ["ADD", "DEL"],
    },
    {
      name: "settings of args.cni alone",
      conf: { prevResult, args: { cni: { sysctl: ARP_FILTER } } },
      setup,
      steps: ["ADD", "DEL"],
    },
    {
      name: "an attribute that another program enabled",
      conf: { mtu: 1454, prevResult },
      setup,
      steps: ["ADD", { in: "pod", run: "ip link set eth0 promisc on" }, "CHECK", "DEL"],
    },
    {
      name: "a changed setting",
      conf: { sysctl: ARP_FILTER, prevResult },
      setup,
      steps: ["ADD", { in: "pod", run: "sysctl -qw net.ipv4.conf.eth0.arp_filter=0" }, "CHECK", "DEL"],
    },
    {
      name: "a pod that is gone",
      conf: { ...ATTRIBUTES, prevResult },
      setup,
      steps: ["ADD", { verb: "DEL", pod: "gone" }],
    },
  ],
};
