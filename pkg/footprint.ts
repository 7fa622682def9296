/**
 * Every name, path, mark, hook priority and protocol number that weft uses on a node. Values that the kernel or a
 * standard defines (IPPROTO_*, RTM_*, /proc/sys) are not here. Neither are values that a configuration sets instead of
 * a default.
 *
 * Longer than 400 lines: docs/footprint.md is generated from this one list.
 *
 * This file imports nothing. docs/footprint.md is generated from it: the line `// # ...` above a group is its heading,
 * and the docstring of a constant is its row. test/lint/footprint.test.ts refuses a second copy of a value.
 */

// # Routes, proxies and addresses

/**
 * Routing protocol of weft's routes and proxy neighbours (`ip route show proto 119`). weft changes and removes only
 * these. 119 is "w"; no routing daemon in iproute2's rt_protos uses it.
 */
export const RTPROT_WEFT = 119;

/**
 * The first routing table that `sbr` may use in a pod's namespace, as in the reference plugin. Lower tables are left to
 * the operator.
 */
export const FIRST_SBR_TABLE = 100;

/** The first routing table that `vrf` may use in a pod's namespace, as in the reference plugin. */
export const FIRST_VRF_TABLE = 1;

// # nftables

/** weftd's table, family `inet`: masquerading, and the filter for senders of VXLAN packets. */
export const NODE_TABLE = "weft";

/** weftd's table for Services, family `inet`. */
export const SERVICES_TABLE = "weft-services";

/** weftd's table, family `inet`, that drops loopback addresses from other hosts while NodePorts answer on 127.0.0.1. */
export const LOCALHOST_TABLE = "weft-localhost";

/** weftd's table for NetworkPolicies, family `inet`. */
export const POLICY_TABLE = "weft-policy";

/**
 * weftd's table, family `inet`, that keeps TCP connections that were cut from continuing: without an entry of connection
 * tracking, the next packet of their server would begin a new one. Created when weftd cuts its first connection.
 */
export const POLICY_CUT_TABLE = "weft-policy-cut";

/** The tables that drop packets with forged senders from pods: family `bridge` for bridged pods, `inet` for routed pods. */
export const SENDERS_TABLE = "weft-senders";

/** Prefix of the names of the tables for pods. All pods of the node share one table for each kind of rule. */
export const POD_TABLE_START = "weft_";

/** The tables for pods. `ipMasq`, `portmap` and `firewall` use family `inet`, `macspoofchk` uses family `bridge`. */
export const POD_TABLE = {
  masquerade: "weft_masquerade",
  portmap: "weft_portmap",
  macspoofchk: "weft_macspoof",
  firewall: "weft_firewall",
} as const;

/** Priority of chains that filter on the hooks `input` and `forward`: nft's `filter`, also used by iptables. */
export const FILTER_PRIORITY = 0;

/**
 * Priority of the chains for NetworkPolicies, on `forward` and `input`: after nft's `filter`, so that connections to
 * Services without endpoints are rejected, not dropped. Destinations are translated by then, sources are not.
 */
export const POLICY_PRIORITY = 10;

/** Priority of the chains that refuse packets of cut connections, on `forward`, `input` and `output`: before policies. */
export const POLICY_CUT_PRIORITY = 9;

/** The nfnetlink_log group to which packets denied by NetworkPolicies are logged. */
export const POLICY_LOG_GROUP = 119;

/** Priority of chains that masquerade on the hook `postrouting`: nft's `srcnat`, after filtering. */
export const SRCNAT_PRIORITY = 100;

/**
 * Priority of the chains that record each client's endpoint for session affinity, on `postrouting` and `input`: before
 * all chains that masquerade.
 */
export const BEFORE_SRCNAT_PRIORITY = 90;

/**
 * Priority of chains that translate connections to Services' endpoints, on `prerouting` and `output`: nft's `dstnat`,
 * as in kube-proxy.
 */
export const DSTNAT_PRIORITY = -100;

/**
 * Priority of chains that translate the node's ports for `portmap`, on `prerouting` and `output`: directly after nft's
 * `dstnat` (-100), which kube-proxy and other programs use. The first chain that matches a connection translates it, so
 * a Service keeps its connections if a pod claims the same port later. The reference plugin's chains have the same
 * effect.
 */
export const BEHIND_DSTNAT_PRIORITY = -99;

/**
 * Priority of the chain that drops loopback addresses from other hosts, on `prerouting`: nft's `raw`, before connection
 * tracking. There, replies to the node's loopback address do not have that address yet, so the chain does not match
 * them.
 */
export const RAW_PRIORITY = -300;

/** Priority of `macspoofchk`'s chain: `dstnat` of family `bridge`, before all others, as in the reference plugin. */
export const BRIDGE_DSTNAT_PRIORITY = -300;

/** Type of the userdata with rule handles in an element. It is far from libnftnl's types, so nft ignores it. */
export const RULE_HANDLES_USERDATA = 119;

/** Type of the userdata of a table by which executables recognise an unchanged table (`pkg/nft/stamp.ts`). */
export const STAMP_USERDATA = 213;

/** Type of the userdata with the digest of an attachment's elements, in the index of `weft_portmap`. */
export const DIGEST_USERDATA = 214;

/** Bit of the packet mark by which connections to Services are masqueraded (0x4000), as in kube-proxy. */
export const DEFAULT_SERVICE_MARK_BIT = 14;

/** Bit of the packet mark by which `portmap` masquerades (0x2000), as in the reference plugin. */
export const DEFAULT_MARK_BIT = 13;

// # Chains shared with the reference plugin

/** The chain for pods in iptables' filter tables; `firewall`, weftd and the reference plugin add rules to it. */
export const PRIVATE_CHAIN = "CNI-FORWARD";

/** The administrator's chain, evaluated before pods' traffic is accepted. A configuration may name another one. */
export const DEFAULT_ADMIN_CHAIN = "CNI-ADMIN";

/** The reference plugin's chains for `ingressPolicy`. weft removes their rules and creates none. */
export const ISOLATION_CHAINS = ["CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"] as const;

/** Comment of the rule that jumps to `CNI-FORWARD`, as the reference plugin writes it. */
export const PRIVATE_COMMENT = "CNI firewall plugin rules";

/** Comment of the rule that jumps to the administrator's chain, as the reference plugin writes it. */
export const ADMIN_COMMENT = "CNI firewall plugin admin overrides";

// # Marks

/** Prefix of the mark of an attachment: the alias of a link, or the comment of a rule or an element. */
export const MARK_START = "cni:";

/** Prefix of the marks of weftd's own objects. */
export const DAEMON_MARK = "weft:";

/** Alias of weft's VXLAN devices. */
export const VTEP_ALIAS = "weft:vtep";
/** Prefix of the alias of other backends' devices; the backend's name follows. */
export const DEVICE_ALIAS_START = "weft:device/";

/** Prefix of the comments of weftd's rules in other programs' forward chains; an address range follows. */
export const FORWARD_MARK = "weft:pods ";

/** Comment of weftd's rules in iptables-legacy's chain FORWARD. */
export const LEGACY_FORWARD_COMMENT = "weft: pods";

/** Comment of tables and chains that weft created for iptables. weft recognises them by it and removes them. */
export const CHAIN_MARK = "weft";

// # Devices and networks

/**
 * Prefix of the names of VXLAN devices, by family of the underlay; the VNI follows. flannel uses the same names, so
 * each program can adopt the other's devices.
 */
export const VTEP_NAME_START = { 4: "flannel.", 6: "flannel-v6." } as const;

/** Prefix of the name of a second device with the same VNI, used while a cluster changes its port; the VNI follows. */
export const SECOND_VTEP_NAME_START = { 4: "weft.", 6: "weft-v6." } as const;

/**
 * The hardware address of a VXLAN device is derived from this text, the device's name and the node's name. Another
 * value would change the address on every node.
 */
export const VTEP_MAC_SEED = "weft/vtep/";

/** The pods' bridge if a configuration names none: the default of the reference plugin and of flannel. */
export const DEFAULT_BRIDGE = "cni0";

/**
 * Name of the pods' network in weftd's conflist. flannel uses the same name, so reservations and cached results keep
 * their paths.
 */
export const NETWORK_NAME = "cbr0";

/** Prefix of the host-side names of pods' veth links; eight random hexadecimal digits follow. */
export const VETH_NAME_START = "veth";

/**
 * Prefix of the temporary name of a macvlan, ipvlan or vlan link until it is renamed in the pod; eight random
 * hexadecimal digits follow.
 */
export const UNFINISHED_LINK_START = "weft";

/**
 * Prefix of the ifb devices of `bandwidth` for packets that a pod sends. The reference plugin uses the same names, so
 * each plugin removes the other's devices.
 */
export const EGRESS_IFB_START = "bwp";

/** Prefix of the ifb devices of `bandwidth` for packets that a pod receives, used if only some subnets are limited. */
export const INGRESS_IFB_START = "bwi";

/**
 * Name of a link and of a table in requests that test which features the kernel supports. The kernel refuses these
 * requests, or the same transaction removes the table, so neither remains.
 */
export const PROBE_LINK = "weft-probe";

// # Traffic control

/** Handle of `bandwidth`'s token bucket (`1:`), the root queueing discipline of a device. */
export const BUCKET_HANDLE = 0x0001_0000;

/**
 * Handle of the ingress queueing discipline (`ffff:`), to which filters on received packets are attached. The kernel
 * allows no other handle.
 */
export const INGRESS_HANDLE = 0xffff_0000;

/**
 * Priorities of `bandwidth`'s filters: for all packets (as in the reference plugin), for IPv4 subnets, for IPv6
 * subnets, and for packets that match no subnet.
 */
export const FILTER_PRIORITIES = { all: 1, ipv4: 1, ipv6: 2, rest: 3 } as const;

// # Ports

/** Default UDP port of VXLAN, as in flannel and the kernel. It is older than the assigned port 4789 (RFC 7348). */
export const DEFAULT_VXLAN_PORT = 8472;

/** Default address on which weftd serves health and metrics. */
export const METRICS_LISTEN = { host: "127.0.0.1", port: 9468 } as const;

/** Port on which weftd serves Services' health checks in place of kube-proxy, on all addresses: kube-proxy's port. */
export const PROXY_HEALTH_PORT = 10_256;

/** Default address on which weftd serves kube-proxy's metrics in place of kube-proxy: kube-proxy's address. */
export const PROXY_METRICS_LISTEN = { host: "127.0.0.1", port: 10_249 } as const;

/**
 * UDP port on peers' VTEPs to which weftd sends probes (tcpmux, which no program serves over UDP). The answer, port
 * unreachable, proves that the datagram arrived intact.
 */
export const CLOSED_PORT = 1;

// # Files of weftd

/** weftd's run directory. The executables read it. */
export const DEFAULT_RUN_DIR = "/run/weft";

/** In the run directory: the node table. The executables can program the node's data path from it without weftd. */
export const TABLE_FILE = "nodes.json";

/** In the run directory: says that this node can serve pods. The file is small, whatever the number of peers. */
export const STAMP_FILE = "stamp.json";

/** In the run directory: weftd listens on this socket while it runs. */
export const SOCKET_FILE = "weftd.sock";

/** In the run directory: weftd listens on this socket while it, not kube-proxy, serves Services on this node. */
export const SERVICES_SOCKET_FILE = "services.sock";

/**
 * In the run directory: on this socket plugins ask weftd to install a pod's policies before the pod can send. Only root
 * may open it.
 */
export const POLICY_SOCKET_FILE = "policy.sock";

/** In the run directory: locked by an executable while it programs peers because weftd does not run. */
export const LOCK_FILE = "nodes.lock";

/** State that weftd keeps across reboots. */
export const DEFAULT_STATE_DIR = "/var/lib/weft";

/** In the state directory: the addresses of API servers, for a start without a route to the ClusterIP. Mode 0600. */
export const KNOWN_SERVERS_FILE = "apiserver.json";

/** The cluster's network configuration. */
export const DEFAULT_NET_CONF = "/etc/weft/net-conf.json";

/** The directory from which the container runtime reads network configurations. */
export const DEFAULT_CNI_CONF_DIR = "/etc/cni/net.d";

/**
 * weftd's network configuration. Runtimes use the first file in sort order; this name sorts before flannel's
 * 10-flannel.conflist.
 */
export const CONFLIST_NAME = "05-weft.conflist";

/**
 * `weft cleanup` gives weftd's conflist this name until everything it names is removed. No runtime reads files with
 * this ending.
 */
export const REMOVED_CONFLIST = ".05-weft.conflist.removed";

/** Suffix of a configuration that weftd disables. No runtime reads it. Removing the suffix restores flannel. */
export const DISABLED_SUFFIX = ".weft-disabled";

// # Files of the executables

/** The directory in which the container runtime searches for plugins. */
export const DEFAULT_CNI_BIN_DIR = "/opt/cni/bin";

/** The executable. Every plugin is a link to it. */
export const EXECUTABLE = "weft";

/** In the plugins' directory: prefix of the names of unfinished files of `weft install`. */
export const UNFINISHED_INSTALL_START = ".weft-install-";

/** In the plugins' directory: other programs' files that weft's links replaced, so that they can be restored. */
export const REPLACED_DIR = ".weft-replaced";

/** Reservations of `host-local`, one directory for each network, in the reference plugin's format and place. */
export const DEFAULT_HOST_LOCAL_DIR = "/var/lib/cni/networks";

/**
 * In `host-local`'s directory: weft's index of owners. It cannot clash with a network, because networks' names begin
 * with a letter or a digit.
 */
export const HOST_LOCAL_INDEX = ".weft";

/** In a network's directory: the lock file, which the reference plugin locks, too. */
export const HOST_LOCAL_LOCK = "lock";

/** In a network's directory: the last reserved address; the range set's number follows. As in the reference plugin. */
export const HOST_LOCAL_CURSOR = "last_reserved_ip.";

/** In a network's directory: an unfinished reservation, until it is linked under its address. */
export const HOST_LOCAL_UNFINISHED = ".reservation";

/**
 * Attributes of an interface before `tuning` changed them, one file for each interface, in the reference plugin's
 * format and place.
 */
export const DEFAULT_TUNING_DIR = "/run/cni/tuning";

/** Settings that `tuning` may change, one regular expression in each line, as for the reference plugin. Only read. */
export const TUNING_ALLOW_LIST = "/etc/cni/tuning/allowlist.conf";

/** The configuration of flannel's delegate, one file for each container, in flannel's format and place. */
export const DEFAULT_FLANNEL_DIR = "/var/lib/cni/flannel";

/** The subnet that flanneld assigned to this node. Only read. */
export const DEFAULT_SUBNET_FILE = "/run/flannel/subnet.env";

/** The runtimes' cached results of attachments: libcni's directory, and that of its versions before 0.8. Only read. */
export const CACHE_DIRECTORIES = ["/var/lib/cni/results", "/var/lib/cni/cache/results"] as const;

// # Kernel settings of the node

/** Enables forwarding for all devices, by family. Set to 1. */
export const FORWARDING: Readonly<Record<4 | 6, readonly string[]>> = {
  4: ["net", "ipv4", "ip_forward"],
  6: ["net", "ipv6", "conf", "all", "forwarding"],
};

/**
 * Passes frames between ports of a bridge through the IP rules (br_netfilter), by family. Each network namespace has
 * its own setting. Set to 1.
 */
export const BRIDGE_CALLS: Readonly<Record<4 | 6, readonly string[]>> = {
  4: ["net", "bridge", "bridge-nf-call-iptables"],
  6: ["net", "bridge", "bridge-nf-call-ip6tables"],
};

// # Kernel settings of single devices

/**
 * Enables forwarding of packets that the device receives. Set to 1 for IPv4, on the underlay, the bridge and weft's
 * VXLAN devices.
 */
export const SETTING_FORWARDING = "forwarding";

/**
 * Accepts router advertisements. Set to 2 on an underlay that depends on them and forwards; set to 0 on devices from
 * which a pod could send them.
 */
export const SETTING_ACCEPT_RA = "accept_ra";

/**
 * Allows loopback addresses on the device. `portmap` sets it to 1 on the device of a pod. weftd sets it to 1 for all
 * devices (`all`) while NodePorts answer on 127.0.0.1, and to 0 afterwards.
 */
export const SETTING_ROUTE_LOCALNET = "route_localnet";

/**
 * Answers ARP or neighbour requests for addresses that are routed elsewhere, by family. Set to 1 on the bridge while
 * both bridged and routed pods run.
 */
export const SETTING_PROXY = { 4: "proxy_arp", 6: "proxy_ndp" } as const;

/** Delay of proxy ARP and proxy NDP answers, in hundredths of a second. Set to 0 together with the setting above. */
export const SETTING_PROXY_DELAY = "proxy_delay";

/** Disables IPv6. Set to 0 in the pod. */
export const SETTING_DISABLE_IPV6 = "disable_ipv6";

/**
 * Runs duplicate address detection before an IPv6 address is used. Set to 0 on the host's end and in the pod, to 1 with
 * `enabledad`.
 */
export const SETTING_ACCEPT_DAD = "accept_dad";

/** Distinguishes a looped-back probe from another host's probe (RFC 7527). Set to 1 in the pod with `enabledad`. */
export const SETTING_ENHANCED_DAD = "enhanced_dad";

/** Keeps IPv6 addresses if the link goes down. Set to 1 in the pod. */
export const SETTING_KEEP_ADDRESSES = "keep_addr_on_down";

/** Announces IPv6 addresses if the hardware address changes. Set to 1 in the pod. */
export const SETTING_NDISC_NOTIFY = "ndisc_notify";
