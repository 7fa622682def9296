/**
 * Where ours is meant to differ from the reference plugins 1.9.1, and why: one row for each.
 *
 * Longer than 400 lines: a table, of which each row stands by itself.
 */
import type { Difference } from "./comparison.ts";

const EVERYWHERE: readonly Difference[] = [
  {
    at: /\/answer$/,
    ours: /^"error \d+"$/,
    theirs: "error 999",
    reason: "Errors have the specification's numbers; nearly every one of the reference's is 999.",
  },
  {
    at: /ADD\/(node|pod|files)\//,
    refused: true,
    ours: undefined,
    reason: "An ADD that fails takes back what it did.",
  },
  {
    at: /files\/.*:lock\/mode$/,
    reason: "A lock file is not executable.",
  },
  {
    at: /files\/.*:\.weft(:.*)?$/,
    theirs: undefined,
    reason: "Reservations have an index by owner beside their directory, so that ADD and DEL do not read all of them.",
  },
];

const BRIDGE: readonly Difference[] = [
  {
    plugin: ["bridge", "ptp"],
    at: /node\/links\/veth\d\/txqlen$/,
    ours: 1000,
    theirs: undefined,
    reason:
      "The reference's 0 is a library's default; the kernel's lets a queueing discipline that is added later have a queue.",
  },
  {
    plugin: ["bridge", "ptp"],
    at: /node\/links\/veth\d\/ifalias$/,
    ours: /^"cni:net\/c\d\/eth\d"$/,
    theirs: undefined,
    reason: "The host's end is marked with its owner: GC and DEL without a namespace find it by that.",
  },
  {
    plugin: "bridge",
    at: /pod\/sysctls\/ipv6\.conf\.eth\d\.accept_dad$/,
    ours: "1",
    theirs: "0",
    reason: "Where no IPv6 address is given, the pod's own settings for IPv6 are left alone.",
  },
  {
    plugin: ["bridge", "ptp"],
    at: /addresses\/(cni0|eth0|veth\d)\/.*\/nodad$/,
    ours: true,
    theirs: undefined,
    reason: "An address is added as one that need not be probed: it is usable at once, whatever the device's settings.",
  },
  {
    plugin: "bridge",
    at: /(node\/links\/cni0\/address|ADD\/answer\/interfaces\/0\/mac)$/,
    ours: "MAC of cni0",
    theirs: /"(MAC of veth\d|00:00:00:00:00:00)"/,
    reason: "A bridge without an address keeps its hardware address, too, whichever ports come and go.",
  },
  {
    plugin: "bridge",
    at: /pod\/sysctls\/ipv6\.conf\.eth0\.ndisc_notify$/,
    ours: "1",
    theirs: "0",
    reason:
      "Once the port forwards, the pod announces its addresses, which another pod may have had: the reference's announcement " +
      "leaves before, and the node keeps the other pod's hardware address for 9 to 46 seconds (plugins#858).",
  },
  {
    plugin: "bridge",
    case: /^layer 2 only/,
    at: /pod\/sysctls\/ipv4\.conf\.eth0\.arp_notify$/,
    ours: "1",
    theirs: "0",
    reason: "Neighbours hear of an address that the pod gives itself.",
  },
  {
    plugin: "bridge",
    case: /^(layer 2 only|an interface that stays down)/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "CHECK of an attachment without IPAM always fails in the reference.",
  },
];

const CABLES: readonly Difference[] = [
  {
    plugin: ["bridge", "ptp"],
    case: /^(addresses for one that stays down|another gateway,|no ipam|an address without a gateway)/,
    at: /(ADD|STATUS)\/answer$/,
    ours: "error 7",
    reason: "A configuration that is wrong has the specification's code for it.",
  },
  {
    plugin: ["bridge", "ptp"],
    case: /^masquerading by nftables/,
    at: /DEL\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "The reference's DEL asks iptables too, and fails where there are no chains.",
  },
  {
    plugin: "bridge",
    case: /^another gateway,/,
    at: /ADD\/(node|pod)\//,
    ours: undefined,
    reason: "An ADD that fails leaves nothing: no veth pair, and no pod with an address that is free again.",
  },
  {
    plugin: "ptp",
    at: /pod\/addresses\/eth0\/.*\/noprefixroute$/,
    ours: true,
    theirs: undefined,
    reason: "The connected route is never made; the reference removes it, and it comes back when the link does.",
  },
  {
    plugin: "ptp",
    at: /pod\/sysctls\/ipv4\.conf\.eth0\.arp_notify$/,
    ours: "1",
    theirs: "0",
    reason: "The host hears of an address that the pod is given later, as it does from pods on a bridge.",
  },
  {
    plugin: "ptp",
    at: /(node\/sysctls\/ipv6\.conf\.veth\d|pod\/sysctls\/ipv6\.conf\.eth0)\.accept_dad$/,
    ours: "0",
    theirs: "1",
    reason: "IPv6 addresses are used at once at both ends of the cable; the reference waits a second for the pod's.",
  },
  {
    plugin: "ptp",
    case: /^a single address with a gateway elsewhere/,
    at: /ADD\//,
    reason: "A network of one address has no connected route; the reference fails to remove it.",
  },
  {
    plugin: "ptp",
    case: /^an address without a gateway/,
    at: /ADD\//,
    reason: "The reference routes everything to the link without a gateway, where nobody answers.",
  },
  {
    plugin: "ptp",
    case: /^the host's route is gone/,
    at: /CHECK\/answer$/,
    ours: "error 999",
    theirs: "success",
    reason: "A pod that the host has no route to is not reached.",
  },
];

const BRIDGE_FILES: readonly Difference[] = [
  {
    plugin: "bridge",
    at: /GC\/(node|pod|files)\//,
    ours: undefined,
    reason: "GC does nothing in the reference.",
  },
  {
    plugin: "bridge",
    at: /STATUS\/files\/:var:lib:cni:networks(:net(:lock)?)?$/,
    theirs: undefined,
    reason: "STATUS finds out whether the data directory can be written.",
  },
  {
    plugin: "bridge",
    at: /(CHECK|DEL)\/files\/:var:lib:cni:networks(:net(:lock)?)?$/,
    ours: undefined,
    reason: "CHECK and DEL make no directory for a network that has none.",
  },
];

const BRIDGE_CALLS: readonly Difference[] = [
  {
    plugin: "bridge",
    case: /^another gateway,/,
    at: /ADD\/node\/links\/cni0\/tso_max_size$/,
    reason: "The conflict is found before a port is plugged in, by which a bridge's limits for offloads change.",
  },
  {
    plugin: "bridge",
    case: /^a bridge without ports, that has had some/,
    at: /(ADD|CHECK)\//,
    reason:
      "A bridge that has lost its last port has no hardware address, and gets one; the reference fails to set the one that " +
      "is none.",
  },
  {
    plugin: "bridge",
    case: /^a bridge with the gateway's address, and a port with a lower one/,
    at: /4 CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "A bridge whose hardware address nobody has set takes it from its ports: the attachment is as it was.",
  },
  {
    plugin: "bridge",
    case: /^a gateway beside 10\.22\.0\.1\/31/,
    at: /ADD\//,
    reason: "Of two addresses the gateway gets the one that the pod has not; the reference gives both the same.",
  },
  {
    plugin: "bridge",
    case: /^routes with everything/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "The reference's CHECK looks for a route with a table in the main one.",
  },
  {
    plugin: "bridge",
    case: /^the single address 10/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "CHECK of the reference looks for the address with another length than its ADD has given it.",
  },
  {
    plugin: "bridge",
    case: /^a bridge that is no bridge,/,
    at: /ADD\/files\/:var:lib:cni:networks/,
    theirs: undefined,
    reason: "The address is reserved before the devices are made, and given back; the cursor has moved on.",
  },
  {
    plugin: "bridge",
    case: /^routes with everything/,
    at: /pod\/routes\/.*\/metrics$/,
    ours: [{ mtu: 1300, advmss: 1200 }],
    theirs: undefined,
    reason: "The reference prints a route's mtu and advmss, and does not set them.",
  },
  {
    plugin: "bridge",
    case: /^(a default route from IPAM, and isDefaultGateway|several ranges of one family),/,
    at: /(ADD|CHECK)\//,
    reason: "The reference refuses its own default route, and a second gateway of the same family, as conflicts.",
  },
  {
    plugin: "bridge",
    case: /^DEL (without a namespace|of a namespace that is gone),/,
    at: /DEL\/(node|pod)\//,
    ours: undefined,
    reason: "The pair is found by its owner's mark where the pod's namespace is not told, or is gone.",
  },
  {
    plugin: "bridge",
    case: /^CHECK after (the host's end went down|hairpin mode went|the gateway's address went),/,
    at: /CHECK\/answer$/,
    ours: "error 999",
    theirs: "success",
    reason: "CHECK compares both ends of the pair and the bridge's addresses with what ADD made.",
  },
];

const LOOPBACK: readonly Difference[] = [
  {
    plugin: "loopback",
    case: /CNI 0\.[12]\.0$/,
    at: /ADD\/answer\/(ip4|ip6|ips|interfaces)$/,
    reason: "The reference prints results of CNI 0.1.0 and 0.2.0 in a later version's form.",
  },
  {
    plugin: "loopback",
    case: /CNI 0\.[34]\.\d$/,
    at: /ADD\/answer\/ips\/\d\/version$/,
    theirs: undefined,
    reason: "CNI 0.3.0 to 0.4.0 has a version beside each address.",
  },
];

const FIREWALL: readonly Difference[] = [
  {
    plugin: "firewall",
    case: /^ingressPolicy isolated/,
    at: /node\/(links|ports)\/veth1\/.*isolated$/,
    ours: true,
    theirs: false,
    reason: "Frames between ports of a bridge pass no IP filter: the bridge itself keeps isolated pods apart.",
  },
];

const PORTMAP: readonly Difference[] = [
  {
    plugin: "portmap",
    case: /^traffic.*, the reference with nftables/,
    at: /in other\/answer$/,
    reason:
      "Neighbours on the pod's bridge are masqueraded as by the reference's default backend: else their replies pass the " +
      "node only where br_netfilter is on.",
  },
  {
    plugin: "portmap",
    case: /^a DEL to which the runtime gives no ports/,
    at: /in node\/(answer|status)$/,
    reason: "DEL removes what carries the attachment's mark, whatever the runtime tells it.",
  },
  {
    plugin: "portmap",
    case: /^a port that is taken/,
    at: /2 ADD\/answer$/,
    ours: "error 100",
    theirs: /^\{/,
    reason:
      "A host port that another attachment has is refused with the holder's name; with the reference, the new pod starts and " +
      "its port leads to the other one.",
  },
  {
    plugin: "portmap",
    case: /^a hostIP that is none/,
    at: /ADD\/answer$/,
    ours: "error 7",
    reason:
      "A hostIP that is no address is refused; the reference takes it for one of the family that the pod has not.",
  },
  {
    plugin: "portmap",
    case: /^conditions that nftables has no words for/,
    at: /ADD\/answer$/,
    ours: "error 2",
    theirs: /^\{/,
    reason: "Conditions other than source, destination and incoming interface are refused by name, not ignored.",
  },
  {
    plugin: "portmap",
    case: /^(conditions|a hostIP that is none|a foreign chain|a host port too large|a protocol|a condition)/,
    at: /node\/sysctls\/ipv4\.conf\.cni0\.route_localnet$/,
    ours: "0",
    theirs: "1",
    reason: "An ADD that is refused changes nothing.",
  },
];

const BANDWIDTH: readonly Difference[] = [
  {
    plugin: "bandwidth",
    at: /\/bwp[0-9a-f]{12}\/(link\/)?txqlen$/,
    ours: 32,
    theirs: undefined,
    reason: "The ifb device has the kernel's transmit queue: with the reference's 0 it is stopped after every packet.",
  },
  {
    plugin: "bandwidth",
    at: /\/bwp[0-9a-f]{12}\/(link\/)?ifalias$/,
    ours: "cni:net/c1/eth0",
    theirs: undefined,
    reason: "The ifb device is marked with its owner: GC finds it by that.",
  },
  {
    plugin: "bandwidth",
    at: /\/ingress veth\d\/\d\/options\/actions\/1$/,
    ours: undefined,
    reason: "The reference redirects once more behind the redirection, where no packet comes.",
  },
  {
    plugin: "bandwidth",
    case: /^a lost bucket/,
    at: /bwp[0-9a-f]{12}( |\/(link\/)?qdisc$|$)/,
    reason: "Without its bucket, a device with a transmit queue gets the kernel's default discipline.",
  },
  {
    plugin: "bandwidth",
    case: /^a lost (bucket|redirection)/,
    at: /CHECK\/answer$/,
    ours: "error 999",
    theirs: "success",
    reason: "CHECK finds buckets and redirections that are gone.",
  },
];

const TUNING: readonly Difference[] = [
  {
    plugin: "tuning",
    at: /files\/:run:cni:tuning\/mode$/,
    ours: "drwx------",
    theirs: "drw-------",
    reason: "A directory that nobody may enter serves only those whom permissions do not stop.",
  },
  {
    plugin: "tuning",
    at: /files\/:run:cni:tuning:c1_eth0\.json\/lines$/,
    ours: /\\"owner\\": \\"cni:net\/c1\/eth0\\"/,
    reason: "What is kept is marked with its owner, for GC; the reference passes that over.",
  },
  {
    plugin: "tuning",
    case: /^a setting of several numbers/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "The kernel shows several numbers with tabs between them; they are the same ones.",
  },
  {
    plugin: "tuning",
    case: /^settings of args.cni alone/,
    at: /./,
    reason: "The reference crashes on an args.cni.sysctl without a sysctl in the configuration, and prints nothing.",
  },
  {
    plugin: "tuning",
    case: /^what somebody else switched on/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "CHECK tolerates what others changed later and this plugin was not asked for (CNI specification, CHECK).",
  },
  {
    plugin: "tuning",
    case: /^a MAC that a later plugin has changed/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "CHECK expects the MAC that the chain's result tells: a later plugin may have set another one.",
  },
  {
    plugin: "tuning",
    case: /^a pod that is gone/,
    at: /DEL\/files\/:run:cni:tuning:c1_eth0\.json$/,
    ours: undefined,
    reason: "What was kept for an interface goes with it; the reference leaves the file for ever.",
  },
];

const SBR: readonly Difference[] = [
  {
    plugin: "sbr",
    at: /pod\/routes\/unicast fd.* table 100( |$)/,
    ours: undefined,
    reason: "The reference copies IPv6's routes into IPv4's tables too, where no rule leads.",
  },
  {
    plugin: "sbr",
    case: /^tables that rules lead to/,
    at: /pod\/routes\/unicast fd.* table 101( |$)/,
    ours: undefined,
    reason: "The same, where IPv4's table is the second.",
  },
  {
    plugin: "sbr",
    case: /^a lost rule/,
    at: /CHECK\/answer$/,
    ours: "error 999",
    theirs: "success",
    reason: "CHECK of the reference looks at nothing.",
  },
  {
    plugin: "sbr",
    case: /^an interface that is gone/,
    at: /DEL\/pod\/rules\//,
    ours: undefined,
    reason: "Rules for addresses of an interface that is gone go, too, where the result tells of them.",
  },
  {
    plugin: "sbr",
    case: /^a pod that is gone/,
    at: /DEL\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "DEL succeeds when the namespace is gone (CNI specification, DEL).",
  },
];

/** Plugins that give the pod a link and need nothing else on the host. */
const LINKS = ["dummy", "host-device", "ipvlan", "macvlan", "tap", "vlan"];

const SINGLE_LINKS: readonly Difference[] = [
  {
    plugin: LINKS,
    at: /(ADD|CHECK|in pod)\/pod\/addresses\/[^/]*\/.*:.*\/(nodad|tentative)$/,
    reason: "An address is added as one that need not be probed: it is usable at once, also before there is a carrier.",
  },
  {
    plugin: LINKS,
    at: /\/pod\/routes\/local fd00:22::2 dev eth0 table local$/,
    theirs: undefined,
    reason: "What is still being probed, as with the reference where there is no carrier, has no route yet.",
  },
  {
    plugin: "ipvlan",
    case: /^the default route's link/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "The reference's CHECK knows no master but the configuration's, not even the one that its ADD has found.",
  },
  {
    plugin: ["dummy", "host-device", "vlan"],
    at: /ADD\/pod\/sysctls\/(ipv4\.conf\.\w+\.arp_notify|ipv6\.conf\.\w+\.ndisc_notify)$/,
    ours: "1",
    theirs: "0",
    reason: "Neighbours hear of the pod's addresses as soon as it has them, as they do with macvlan and ipvlan.",
  },
  {
    plugin: "tap",
    at: /ADD\/pod\/sysctls\/ipv6\.conf\.\w+\.ndisc_notify$/,
    ours: "1",
    theirs: "0",
    reason: "Neighbours hear of an IPv6 address as they do of an IPv4 one.",
  },
  {
    plugin: ["macvlan", "tap"],
    case: /^layer 2 only|port of the pod's bridge/,
    at: /ADD\/pod\/sysctls\/ipv4\.conf\.eth0\.arp_notify$/,
    ours: "1",
    theirs: "0",
    reason: "Neighbours hear of an address that the pod gives itself.",
  },
  {
    plugin: LINKS,
    at: /DEL\/files\/:var:lib:cni:networks(:net(:lock)?)?$/,
    ours: undefined,
    reason: "DEL of what was never reserved makes no folder.",
  },
  {
    plugin: LINKS,
    at: /STATUS\/files\/:var:lib:cni:networks(:net(:lock)?)?$/,
    theirs: undefined,
    reason: "STATUS of host-local tries whether it could reserve.",
  },
  {
    plugin: ["macvlan", "tap"],
    case: /^(no address left|a bridge that is none|an MTU that is none)/,
    at: /(ADD|DEL)\/pod\/(links|addresses|sysctls)\//,
    ours: undefined,
    reason: "The reference leaves its device in the pod where ADD fails after it was made.",
  },
  {
    plugin: "host-device",
    case: /^no address left/,
    at: /(ADD|DEL)\/(node|pod)\/(links|addresses|sysctls)\//,
    reason: "The reference leaves the device in the pod where ADD fails, and takes it back, down, at DEL.",
  },
  {
    plugin: "host-device",
    at: /DEL\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "DEL of what is gone succeeds: a second one, and one behind a namespace that is gone.",
  },
  {
    plugin: "host-device",
    case: /^(a pod that is gone|no namespace)/,
    at: /DEL\/files\/.*:net:(10|fd00)/,
    ours: undefined,
    reason: "The reference keeps the address of a pod whose namespace is gone for ever.",
  },
  {
    plugin: "host-device",
    case: /^a host's name that was taken meanwhile/,
    at: /DEL\/(pod|files)\//,
    theirs: undefined,
    reason: "A device that cannot go back yet stays as it was, and keeps its address until it does.",
  },
  {
    plugin: "host-device",
    case: /^a host's name that was taken meanwhile/,
    at: /DEL\/pod\/sysctls\/ipv6.conf.eth0.(keep_addr_on_down|ndisc_notify)$/,
    reason: "Its settings, which the kernel resets when a device changes its namespace, stay as they were, too.",
  },
  {
    plugin: "tap",
    case: /^an owner and a group|^an owner, a group, and a MAC/,
    at: /ADD\/pod\/links\/eth0\/linkinfo\/info_data\/(vnet_hdr|pi)$/,
    ours: false,
    theirs: true,
    reason: "The reference makes it in another way where both are given; who opens a tap states these for himself.",
  },
  {
    plugin: "tap",
    case: /^an owner, a group, and a MAC/,
    at: /ADD\/(answer\/interfaces\/0\/mac|pod\/links\/eth0\/address)$/,
    ours: "c2:11:22:33:44:55",
    theirs: "MAC of eth0",
    reason: "The reference forgets the MAC where an owner and a group are given.",
  },
];

const ADDRESSES: readonly Difference[] = [
  {
    plugin: "host-local",
    case: /^refused: (an address that is asked for|two addresses of one set)/,
    at: /last_reserved_ip\.0$/,
    ours: undefined,
    reason: "What is refused is refused before anything is written.",
  },
  {
    plugin: "host-local",
    case: /^DEL with a configuration/,
    at: /DEL\/(answer|files\/.*:10\.22\.0\.2)$/,
    reason: "DEL needs no more of the configuration than where the reservations are.",
  },
  {
    plugin: "host-local",
    case: /^CHECK of another address/,
    at: /CHECK\/answer$/,
    ours: "error 101",
    theirs: "success",
    reason: "CHECK compares the addresses of the result with those that are reserved.",
  },
  {
    plugin: "host-local",
    case: /^an address is asked for by who has one/,
    at: /ADD\/(answer|files\/.*)$/,
    reason: "An attachment gets one address of each set, also where it asks for a second.",
  },
  {
    plugin: "host-local",
    case: /^(files of strangers)/,
    at: /DEL\/files\/.*:notes$/,
    theirs: undefined,
    reason: "Only a file that is called like an address is a reservation.",
  },
  {
    plugin: "host-local",
    case: /^a container that is not there/,
    at: /CHECK\/files\/.*:networks(:net(:lock)?)?$/,
    ours: undefined,
    reason: "CHECK and DEL make no folder where nothing was reserved.",
  },
  {
    plugin: "host-local",
    case: /^a network that was never used/,
    at: /STATUS\/files\/.*:networks(:net(:lock)?)?$/,
    theirs: undefined,
    reason: "STATUS finds out whether ADD could write.",
  },
  {
    plugin: "host-local",
    case: /^STATUS where nothing/,
    at: /STATUS\/answer$/,
    ours: "error 50",
    theirs: "success",
    reason: "STATUS finds out whether ADD could write.",
  },
  {
    plugin: "host-local",
    case: /^GC/,
    at: /GC\/files\/.*:10\.22\.0\.2$/,
    ours: undefined,
    reason: "GC frees what no valid attachment has.",
  },
  {
    plugin: "host-local",
    case: /^the network's own address/,
    at: /ADD\/(answer|files\/.*)/,
    reason: "The network's own address and the broadcast address are given to nobody, whatever the bounds are.",
  },
  {
    plugin: "host-local",
    case: /^two addresses in CNI_ARGS/,
    at: /ADD\/(answer|files\/.*)$/,
    reason: "IP in CNI_ARGS may name an address for each set, as it may for static.",
  },
  {
    plugin: "static",
    case: /^CHECK of other addresses/,
    at: /CHECK\/answer$/,
    ours: "error 999",
    theirs: "success",
    reason: "An address that the result lacks is an error.",
  },
];

export const DIFFERENCES: readonly Difference[] = [
  ...EVERYWHERE,
  ...BRIDGE_FILES,
  ...BRIDGE,
  ...BRIDGE_CALLS,
  ...CABLES,
  ...LOOPBACK,
  ...PORTMAP,
  ...FIREWALL,
  ...BANDWIDTH,
  ...TUNING,
  ...SBR,
  ...SINGLE_LINKS,
  ...ADDRESSES,
];
