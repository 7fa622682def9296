/**
 * Every name, path, mark, hook priority and protocol number that weft uses on a node, in one place. What the kernel or a
 * standard fixes (IPPROTO_*, RTM_*, /proc/sys) is not here, nor what a configuration says in place of a default.
 *
 * It imports nothing. docs/footprint.md is made from it: the line `// # ...` above a group is its heading, and a constant's
 * docstring is its row. test/lint/footprint.test.ts refuses a second copy of a value.
 */

// # Routes, proxies and addresses

/**
 * Routing protocol of weft's routes and of its proxy neighbours (`ip route show proto 119`): only those are changed or
 * removed. 119 is "w"; no routing daemon in iproute2's rt_protos uses it.
 */
export const RTPROT_WEFT = 119;

/** First routing table that `sbr` may take in a pod's namespace, as the reference does: those below are an operator's. */
export const FIRST_SBR_TABLE = 100;

/** First routing table that `vrf` may take in a pod's namespace, as the reference does. */
export const FIRST_VRF_TABLE = 1;

// # nftables

/** weftd's table, family `inet`: masquerade, and who may send VXLAN packets. */
export const NODE_TABLE = "weft";

/** weftd's table of Services, family `inet`. */
export const SERVICES_TABLE = "weft-services";

/** weftd's table, family `inet`, that drops loopback addresses from elsewhere while NodePorts answer on 127.0.0.1. */
export const LOCALHOST_TABLE = "weft-localhost";

/** How the names of the tables of pods begin: one table for each kind of rule, for all pods of the node. */
export const POD_TABLE_START = "weft_";

/** The tables of pods: of `ipMasq`, `portmap` and `firewall` in family `inet`, of `macspoofchk` in family `bridge`. */
export const POD_TABLE = {
  masquerade: "weft_masquerade",
  portmap: "weft_portmap",
  macspoofchk: "weft_macspoof",
  firewall: "weft_firewall",
} as const;

/** Priority of chains that filter on the hooks `input` and `forward`: nft's `filter`, with iptables' own. */
export const FILTER_PRIORITY = 0;

/** Priority of chains that masquerade on the hook `postrouting`: nft's `srcnat`, after filtering. */
export const SRCNAT_PRIORITY = 100;

/** Priority of the chains that remember clients' endpoints, on `postrouting` and `input`: before any chain that masquerades. */
export const BEFORE_SRCNAT_PRIORITY = 90;

/** Priority of chains that lead connections to Services' endpoints, on `prerouting` and `output`: nft's `dstnat`, as kube-proxy's. */
export const DSTNAT_PRIORITY = -100;

/**
 * Priority of chains that translate ports of the node, on `prerouting` and `output`: right behind nft's `dstnat` (-100),
 * where kube-proxy and others translate. Of two that want the same connection the first one gets it: a Service keeps what
 * it had before the pod came, as with the reference plugin's chains.
 */
export const BEHIND_DSTNAT_PRIORITY = -99;

/**
 * Priority of the chain that drops loopback addresses from elsewhere, on `prerouting`: nft's `raw`, before connection
 * tracking, so that replies to the node's loopback address are not met yet.
 */
export const RAW_PRIORITY = -300;

/** Priority of `macspoofchk`'s chain: `dstnat` of family `bridge`, before all others, as the reference plugin's chain. */
export const BRIDGE_DSTNAT_PRIORITY = -300;

/** Type of the userdata in which an element keeps handles of rules: far from libnftnl's types, so that nft passes it over. */
export const RULE_HANDLES_USERDATA = 119;

/** The bit of a packet's mark by which connections to Services are masqueraded (0x4000): kube-proxy's. */
export const DEFAULT_SERVICE_MARK_BIT = 14;

/** The bit of a packet's mark by which `portmap` masquerades (0x2000), as the reference plugin and others do. */
export const DEFAULT_MARK_BIT = 13;

// # Chains shared with the reference plugin

/** The chain for pods in iptables' filter tables, where weft's firewall and weftd put rules, as the reference does. */
export const PRIVATE_CHAIN = "CNI-FORWARD";

/** The administrator's chain, asked before pods' traffic is accepted; a configuration may name another one. */
export const DEFAULT_ADMIN_CHAIN = "CNI-ADMIN";

/** The reference plugin's chains of `ingressPolicy`: weft removes their rules, and makes none. */
export const ISOLATION_CHAINS = ["CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"] as const;

/** Comment of the rule that leads to `CNI-FORWARD`, as the reference plugin writes it. */
export const PRIVATE_COMMENT = "CNI firewall plugin rules";

/** Comment of the rule that leads to the administrator's chain, as the reference plugin writes it. */
export const ADMIN_COMMENT = "CNI firewall plugin admin overrides";

// # Marks

/** How the mark of an attachment begins: the alias of a link, the comment of a rule or an element. */
export const MARK_START = "cni:";

/** How the marks of weftd's own objects begin. */
export const DAEMON_MARK = "weft:";

/** Alias of weft's VXLAN devices. */
export const VTEP_ALIAS = "weft:vtep";
/** Start of the alias of other backends' devices; the backend's name follows. */
export const DEVICE_ALIAS_START = "weft:device/";

/** How comments of weftd's rules in other programs' forward chains begin; a range follows. */
export const FORWARD_MARK = "weft:pods ";

/** Comment of weftd's rules in iptables-legacy's chain FORWARD. */
export const LEGACY_FORWARD_COMMENT = "weft: pods";

/** Comment of tables and chains that weft made for iptables, so that weft removes them. */
export const CHAIN_MARK = "weft";

// # Devices and networks

/** VXLAN devices by family of the underlay; the VNI follows. flannel's names, so that either takes over the other's. */
export const VTEP_NAME_START = { 4: "flannel.", 6: "flannel-v6." } as const;

/** A second device of the same VNI, needed while a cluster changes its port; the VNI follows. */
export const SECOND_VTEP_NAME_START = { 4: "weft.", 6: "weft-v6." } as const;

/**
 * What the hardware address of a VXLAN device is derived from, with the device's and the node's name behind it: another
 * value would give every node another address.
 */
export const VTEP_MAC_SEED = "weft/vtep/";

/** The pods' bridge where a configuration names none: the reference plugin's default, and flannel's. */
export const DEFAULT_BRIDGE = "cni0";

/** Name of the pods' network in weftd's conflist: flannel's, so that reservations and results stay where they are. */
export const NETWORK_NAME = "cbr0";

/** How the host's ends of pods' links begin; eight random hexadecimal digits follow. */
export const VETH_NAME_START = "veth";

/** A macvlan, ipvlan or vlan link until it is renamed in the pod; eight random hexadecimal digits follow. */
export const UNFINISHED_LINK_START = "weft";

/** ifb devices of `bandwidth`, for what a pod sends: the reference's names, so that each plugin removes the other's. */
export const EGRESS_IFB_START = "bwp";

/** ifb devices of `bandwidth`, for what a pod receives where only some subnets are limited. */
export const INGRESS_IFB_START = "bwi";

/** A link, and a table, that are asked for to learn what the kernel knows; it refuses them always, and none is made. */
export const PROBE_LINK = "weft-probe";

// # Traffic control

/** Handle of `bandwidth`'s token bucket (`1:`), the outermost queueing discipline of a device. */
export const BUCKET_HANDLE = 0x0001_0000;

/** Handle of the place for filters on what arrives (`ffff:`): the only one that the kernel gives it. */
export const INGRESS_HANDLE = 0xffff_0000;

/**
 * Priorities of `bandwidth`'s filters: of the one that takes all packets, as the reference's; of those for IPv4 and for IPv6
 * subnets; of the one for what no subnet has matched.
 */
export const FILTER_PRIORITIES = { all: 1, ipv4: 1, ipv6: 2, rest: 3 } as const;

// # Ports

/** Default UDP port of VXLAN: flannel's, and the kernel's own, which predates the assigned port 4789 (RFC 7348). */
export const DEFAULT_VXLAN_PORT = 8472;

/** Where weftd serves health and metrics, when it is not told otherwise. */
export const METRICS_LISTEN = { host: "127.0.0.1", port: 9468 } as const;

/** Where weftd answers for Services' health in kube-proxy's place, at all addresses: kube-proxy's port. */
export const PROXY_HEALTH_PORT = 10_256;

/** Where weftd serves kube-proxy's metrics in its place, when it is not told otherwise: kube-proxy's address. */
export const PROXY_METRICS_LISTEN = { host: "127.0.0.1", port: 10_249 } as const;

/**
 * UDP port of peers' VTEPs that probes are sent to (tcpmux, which nobody serves over UDP): the answer, port unreachable,
 * proves that a datagram arrived whole.
 */
export const CLOSED_PORT = 1;

// # Files of weftd

/** weftd's run directory, read by the executables. */
export const DEFAULT_RUN_DIR = "/run/weft";

/** In the run directory: the node table, from which a node's data path can be made without weftd. */
export const TABLE_FILE = "nodes.json";

/** In the run directory: tells that this node can serve; small, whatever the number of peers. */
export const STAMP_FILE = "stamp.json";

/** In the run directory: weftd listens here as long as it lives. */
export const SOCKET_FILE = "weftd.sock";

/** In the run directory: weftd listens here as long as the turn at Services is its own. */
export const SERVICES_SOCKET_FILE = "services.sock";

/** In the run directory: held by an executable that programs peers while no weftd does. */
export const LOCK_FILE = "nodes.lock";

/** What weftd keeps over a reboot. */
export const DEFAULT_STATE_DIR = "/var/lib/weft";

/** In that directory: the addresses of API servers, for a start without a way to the ClusterIP. Mode 0600. */
export const KNOWN_SERVERS_FILE = "apiserver.json";

/** The cluster's network configuration. */
export const DEFAULT_NET_CONF = "/etc/weft/net-conf.json";

/** Where the container runtime looks for network configurations. */
export const DEFAULT_CNI_CONF_DIR = "/etc/cni/net.d";

/** weftd's network configuration; sorts before flannel's 10-flannel.conflist: of several, runtimes take the first. */
export const CONFLIST_NAME = "05-weft.conflist";

/** What `weft cleanup` calls weftd's conflist until all that it names is gone: no runtime reads this ending. */
export const REMOVED_CONFLIST = ".05-weft.conflist.removed";

/** Appended to the name of a configuration that weftd takes over: no runtime reads it; without it flannel is back. */
export const DISABLED_SUFFIX = ".weft-disabled";

// # Files of the executables

/** Where the container runtime looks for plugins. */
export const DEFAULT_CNI_BIN_DIR = "/opt/cni/bin";

/** The executable that all plugins are links to. */
export const EXECUTABLE = "weft";

/** In the plugins' directory: how the names of unfinished files of `weft install` begin. */
export const UNFINISHED_INSTALL_START = ".weft-install-";

/** In the plugins' directory: other programs' files whose names weft took, so that they can be put back. */
export const REPLACED_DIR = ".weft-replaced";

/** Reservations of `host-local`, a directory for each network: the reference's form and place. */
export const DEFAULT_HOST_LOCAL_DIR = "/var/lib/cni/networks";

/** In `host-local`'s directory: weft's index of owners. Networks' names begin with a letter or a digit. */
export const HOST_LOCAL_INDEX = ".weft";

/** In a network's directory: the lock, as the reference takes it. */
export const HOST_LOCAL_LOCK = "lock";

/** In a network's directory: the address reserved last; the number of the set of ranges follows. The reference's. */
export const HOST_LOCAL_CURSOR = "last_reserved_ip.";

/** In a network's directory: a reservation that is being written, until it is linked under its address. */
export const HOST_LOCAL_UNFINISHED = ".reservation";

/** An interface's attributes from before `tuning`, a file for each: the reference's form and place. */
export const DEFAULT_TUNING_DIR = "/run/cni/tuning";

/** Which settings `tuning` may change, one regular expression a line: the reference's. Only read. */
export const TUNING_ALLOW_LIST = "/etc/cni/tuning/allowlist.conf";

/** What flannel's plugin gave to its delegate, a file for each container: flannel's form and place. */
export const DEFAULT_FLANNEL_DIR = "/var/lib/cni/flannel";

/** The subnet that flanneld gave to this node. Only read. */
export const DEFAULT_SUBNET_FILE = "/run/flannel/subnet.env";

/** What runtimes remember of attachments: libcni's default, and that of its versions before 0.8. Only read. */
export const CACHE_DIRECTORIES = ["/var/lib/cni/results", "/var/lib/cni/cache/results"] as const;

// # Kernel settings of the node

/** Switches forwarding on for all devices, by family. Set to 1. */
export const FORWARDING: Readonly<Record<4 | 6, readonly string[]>> = {
  4: ["net", "ipv4", "ip_forward"],
  6: ["net", "ipv6", "conf", "all", "forwarding"],
};

/** Shows IP rules the frames from one port of a bridge to another (br_netfilter), by family. Each network namespace has its own. Set to 1. */
export const BRIDGE_CALLS: Readonly<Record<4 | 6, readonly string[]>> = {
  4: ["net", "bridge", "bridge-nf-call-iptables"],
  6: ["net", "bridge", "bridge-nf-call-ip6tables"],
};

// # Kernel settings of single devices

/** Forwards what comes in by the device. Set to 1 for IPv4, on the underlay, the bridge and weft's VXLAN devices. */
export const SETTING_FORWARDING = "forwarding";

/** Takes router advertisements. Set to 2 on an underlay that lives by them and forwards; to 0 where a pod could send them. */
export const SETTING_ACCEPT_RA = "accept_ra";

/**
 * Lets loopback addresses pass the device. Set to 1 by `portmap` on the device that leads to a pod, and by weftd for all
 * devices (`all`) while NodePorts answer on 127.0.0.1; to 0 when they no longer do.
 */
export const SETTING_ROUTE_LOCALNET = "route_localnet";

/** Answers for addresses that routes lead elsewhere, by family. Set to 1 on the bridge while pods of both kinds run. */
export const SETTING_PROXY = { 4: "proxy_arp", 6: "proxy_ndp" } as const;

/** How long an answer for others' addresses waits, in hundredths of a second. Set to 0 beside the one above. */
export const SETTING_PROXY_DELAY = "proxy_delay";

/** Switches IPv6 off. Set to 0 in the pod. */
export const SETTING_DISABLE_IPV6 = "disable_ipv6";

/** Probes IPv6 addresses before they are used. Set to 0 on the host's end and in the pod, to 1 with `enabledad`. */
export const SETTING_ACCEPT_DAD = "accept_dad";

/** Tells a probe that comes back from another host's (RFC 7527). Set to 1 in the pod with `enabledad`. */
export const SETTING_ENHANCED_DAD = "enhanced_dad";

/** Keeps IPv6 addresses when the link goes down. Set to 1 in the pod. */
export const SETTING_KEEP_ADDRESSES = "keep_addr_on_down";

/** Announces IPv6 addresses when the hardware address changes. Set to 1 in the pod. */
export const SETTING_NDISC_NOTIFY = "ndisc_notify";
