/**
 * The intended differences from the reference plugins 1.9.1, with reasons: one row for each.
 *
 * Longer than 400 lines: a table with independent rows.
 */
import type { Difference } from "./comparison.ts";

const EVERYWHERE: readonly Difference[] = [
  {
    at: /\/answer$/,
    ours: /^"error \d+"$/,
    theirs: "error 999",
    reason: "Errors have the specification's codes; nearly all of the reference's have code 999.",
  },
  {
    at: /ADD\/(node|pod|files)\//,
    refused: true,
    ours: undefined,
    reason: "A failed ADD undoes its changes.",
  },
  {
    at: /files\/.*:lock\/mode$/,
    reason: "A lock file is not executable.",
  },
  {
    at: /files\/.*:\.weft(:.*)?$/,
    theirs: undefined,
    reason: "Reservations have an index by owner next to their directory, so that ADD and DEL do not read all of them.",
  },
];

const BRIDGE: readonly Difference[] = [
  {
    plugin: ["bridge", "ptp"],
    at: /node\/links\/veth\d\/txqlen$/,
    ours: 1000,
    theirs: undefined,
    reason:
      "The reference's 0 is a library's default; with the kernel's default, a queueing discipline that is added later has a queue.",
  },
  {
    plugin: ["bridge", "ptp"],
    at: /node\/links\/veth\d\/ifalias$/,
    ours: /^"cni:net\/c\d\/eth\d"$/,
    theirs: undefined,
    reason: "The host's end is marked with its owner: GC and DEL without a namespace find it by the mark.",
  },
  {
    plugin: "bridge",
    at: /pod\/sysctls\/ipv6\.conf\.eth\d\.accept_dad$/,
    ours: "1",
    theirs: "0",
    reason: "If no IPv6 address is given, the pod's own settings for IPv6 are not changed.",
  },
  {
    plugin: ["bridge", "ptp"],
    at: /addresses\/(cni0|eth0|veth\d)\/.*\/nodad$/,
    ours: true,
    theirs: undefined,
    reason:
      "Addresses are added without duplicate address detection: they are usable at once, whatever the device's settings.",
  },
  {
    plugin: "bridge",
    at: /(node\/links\/cni0\/address|ADD\/answer\/interfaces\/0\/mac)$/,
    ours: "MAC of cni0",
    theirs: /"(MAC of veth\d|00:00:00:00:00:00)"/,
    reason: "A bridge without an address also keeps its hardware address when ports are added and removed.",
  },
  {
    plugin: "bridge",
    at: /pod\/sysctls\/ipv6\.conf\.eth0\.ndisc_notify$/,
    ours: "1",
    theirs: "0",
    reason:
      "When the port forwards, the pod announces its addresses, which another pod may have had. The reference's announcement " +
      "is sent earlier and lost, and the node keeps the other pod's hardware address for 9 to 46 seconds (plugins#858).",
  },
  {
    plugin: "bridge",
    case: /^layer 2 only/,
    at: /pod\/sysctls\/ipv4\.conf\.eth0\.arp_notify$/,
    ours: "1",
    theirs: "0",
    reason: "Neighbours are notified of an address that the pod assigns itself.",
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
    case: /^(addresses for an interface that stays down|another gateway,|no ipam|an address without a gateway)/,
    at: /(ADD|STATUS)\/answer$/,
    ours: "error 7",
    reason: "An invalid configuration has the specification's code.",
  },
  {
    plugin: ["bridge", "ptp"],
    case: /^masquerading by nftables/,
    at: /DEL\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "The reference's DEL also calls iptables, and fails if there are no chains.",
  },
  {
    plugin: "bridge",
    case: /^another gateway,/,
    at: /ADD\/(node|pod)\//,
    ours: undefined,
    reason: "A failed ADD leaves nothing: no veth pair, and no pod with an address that is no longer reserved.",
  },
  {
    plugin: "ptp",
    at: /pod\/addresses\/eth0\/.*\/noprefixroute$/,
    ours: true,
    theirs: undefined,
    reason:
      "The connected route is never made. The reference removes it, and the kernel restores it when the link comes up again.",
  },
  {
    plugin: "ptp",
    at: /pod\/sysctls\/ipv4\.conf\.eth0\.arp_notify$/,
    ours: "1",
    theirs: "0",
    reason: "The host is notified of an address that the pod gets later, as by pods on a bridge.",
  },
  {
    plugin: "ptp",
    at: /(node\/sysctls\/ipv6\.conf\.veth\d|pod\/sysctls\/ipv6\.conf\.eth0)\.accept_dad$/,
    ours: "0",
    theirs: "1",
    reason:
      "IPv6 addresses are usable at once at both ends of the veth pair; the reference waits a second for the pod's.",
  },
  {
    plugin: "ptp",
    case: /^a single address with a gateway outside its subnet/,
    at: /ADD\//,
    reason: "A network of one address has no connected route; the reference fails to remove it.",
  },
  {
    plugin: "ptp",
    case: /^an address without a gateway/,
    at: /ADD\//,
    reason: "Without a gateway, the reference routes everything to the link, where no host answers.",
  },
  {
    plugin: "ptp",
    case: /^the host's route is gone/,
    at: /CHECK\/answer$/,
    ours: "error 999",
    theirs: "success",
    reason: "A pod without a route on the host cannot be reached.",
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
    reason: "STATUS checks that the data directory can be written.",
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
    reason: "The conflict is found before a port is attached, which would change a bridge's offload limits.",
  },
  {
    plugin: "bridge",
    case: /^a bridge that has lost its ports/,
    at: /(ADD|CHECK)\//,
    reason:
      "A bridge that has lost its last port has no hardware address, and gets one; the reference fails to set the invalid " +
      "one.",
  },
  {
    plugin: "bridge",
    case: /^a bridge with the gateway's address, and a port with a lower MAC/,
    at: /4 CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "A bridge without a set hardware address takes it from its ports: the attachment is unchanged.",
  },
  {
    plugin: "bridge",
    case: /^the gateway for 10\.22\.0\.1\/31/,
    at: /ADD\//,
    reason:
      "In a network of two addresses, the gateway gets the one that the pod does not have; the reference gives both the same.",
  },
  {
    plugin: "bridge",
    case: /^routes with all attributes/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "The reference's CHECK looks for a route of another table in the main table.",
  },
  {
    plugin: "bridge",
    case: /^the single address 10/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "The reference's CHECK looks for the address with a prefix length that differs from its ADD's.",
  },
  {
    plugin: "bridge",
    case: /^a device that is not a bridge,/,
    at: /ADD\/files\/:var:lib:cni:networks/,
    theirs: undefined,
    reason: "The address is reserved before the devices are made, and then released; the cursor has advanced.",
  },
  {
    plugin: "bridge",
    case: /^routes with all attributes/,
    at: /pod\/routes\/.*\/metrics$/,
    ours: [{ mtu: 1300, advmss: 1200 }],
    theirs: undefined,
    reason: "The reference prints a route's mtu and advmss, and does not set them.",
  },
  {
    plugin: "bridge",
    case: /^(a default route from IPAM, and isDefaultGateway|several ranges of one family),/,
    at: /(ADD|CHECK)\//,
    reason: "The reference rejects its own default route, and a second gateway of the same family, as conflicts.",
  },
  {
    plugin: "bridge",
    case: /^DEL (without a namespace|of a namespace that is gone),/,
    at: /DEL\/(node|pod)\//,
    ours: undefined,
    reason: "The pair is found by its owner's mark if the pod's namespace is not given, or is gone.",
  },
  {
    plugin: "bridge",
    case: /^CHECK after (the host's end went down|hairpin mode was disabled|the gateway's address was removed),/,
    at: /CHECK\/answer$/,
    ours: "error 999",
    theirs: "success",
    reason: "CHECK compares both ends of the pair and the bridge's addresses with the result of ADD.",
  },
];

const LOOPBACK: readonly Difference[] = [
  {
    plugin: "loopback",
    case: /CNI 0\.[12]\.0$/,
    at: /ADD\/answer\/(ip4|ip6|ips|interfaces)$/,
    reason: "The reference prints results of CNI 0.1.0 and 0.2.0 in a later version's format.",
  },
  {
    plugin: "loopback",
    case: /CNI 0\.[34]\.\d$/,
    at: /ADD\/answer\/ips\/\d\/version$/,
    theirs: undefined,
    reason: "CNI 0.3.0 to 0.4.0 has a version for each address.",
  },
];

const FIREWALL: readonly Difference[] = [
  {
    plugin: "firewall",
    case: /^ingressPolicy isolated/,
    at: /node\/(links|ports)\/veth1\/.*isolated$/,
    ours: true,
    theirs: false,
    reason: "Frames between ports of a bridge pass no IP filter: the bridge itself isolates pods from each other.",
  },
];

const PORTMAP: readonly Difference[] = [
  {
    plugin: "portmap",
    case: /^traffic.*, the reference with nftables/,
    at: /in other\/answer$/,
    reason:
      "Neighbours on the pod's bridge are masqueraded as by the reference's default backend; otherwise their replies pass the " +
      "node only if br_netfilter is on.",
  },
  {
    plugin: "portmap",
    case: /^a DEL without ports/,
    at: /in node\/(answer|status)$/,
    reason: "DEL removes every element with the attachment's mark, whatever the runtime passes.",
  },
  {
    plugin: "portmap",
    case: /^a port in use/,
    at: /2 ADD\/answer$/,
    ours: "error 100",
    theirs: /^\{/,
    reason:
      "A host port of another attachment is rejected with the owner's name; with the reference, the new pod starts and " +
      "its port leads to the other pod.",
  },
  {
    plugin: "portmap",
    case: /^an invalid hostIP/,
    at: /ADD\/answer$/,
    ours: "error 7",
    reason:
      "A hostIP that is not an address is rejected; the reference treats it as one of the family that the pod lacks.",
  },
  {
    plugin: "portmap",
    case: /^conditions that nftables cannot express/,
    at: /ADD\/answer$/,
    ours: "error 2",
    theirs: /^\{/,
    reason: "Conditions other than source, destination and incoming interface are rejected by name, not ignored.",
  },
  {
    plugin: "portmap",
    case: /^(conditions|an invalid hostIP|a foreign chain|a host port too large|a protocol|a condition)/,
    at: /node\/sysctls\/ipv4\.conf\.cni0\.route_localnet$/,
    ours: "0",
    theirs: "1",
    reason: "A rejected ADD changes nothing.",
  },
];

const BANDWIDTH: readonly Difference[] = [
  {
    plugin: "bandwidth",
    at: /\/bwp[0-9a-f]{12}\/(link\/)?txqlen$/,
    ours: 32,
    theirs: undefined,
    reason: "The ifb device has the kernel's transmit queue; with the reference's 0 it is stopped after every packet.",
  },
  {
    plugin: "bandwidth",
    at: /\/bwp[0-9a-f]{12}\/(link\/)?ifalias$/,
    ours: "cni:net/c1/eth0",
    theirs: undefined,
    reason: "The ifb device is marked with its owner: GC finds it by the mark.",
  },
  {
    plugin: "bandwidth",
    at: /\/ingress veth\d\/\d\/options\/actions\/1$/,
    ours: undefined,
    reason: "The reference adds a second redirection after the first, which no packet reaches.",
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
    reason: "CHECK detects missing buckets and redirections.",
  },
];

const TUNING: readonly Difference[] = [
  {
    plugin: "tuning",
    at: /files\/:run:cni:tuning\/mode$/,
    ours: "drwx------",
    theirs: "drw-------",
    reason: "Only processes that bypass permissions can use a directory without the execute bit.",
  },
  {
    plugin: "tuning",
    at: /files\/:run:cni:tuning:c1_eth0\.json\/lines$/,
    ours: /\\"owner\\": \\"cni:net\/c1\/eth0\\"/,
    reason: "Saved attributes are marked with their owner, for GC; the reference ignores the mark.",
  },
  {
    plugin: "tuning",
    case: /^a setting of several numbers/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "The kernel prints several numbers separated by tabs; they are equal.",
  },
  {
    plugin: "tuning",
    case: /^settings of args.cni alone/,
    at: /./,
    reason: "The reference crashes on an args.cni.sysctl without a sysctl in the configuration, and prints nothing.",
  },
  {
    plugin: "tuning",
    case: /^an attribute that another program enabled/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason:
      "CHECK tolerates later changes by others to attributes that this plugin was not asked to set (CNI specification, CHECK).",
  },
  {
    plugin: "tuning",
    case: /^a MAC that a later plugin has changed/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "CHECK expects the MAC in the chain's result: a later plugin may have set another one.",
  },
  {
    plugin: "tuning",
    case: /^a pod that is gone/,
    at: /DEL\/files\/:run:cni:tuning:c1_eth0\.json$/,
    ours: undefined,
    reason: "The saved attributes are removed with the interface; the reference leaves the file forever.",
  },
];

const SBR: readonly Difference[] = [
  {
    plugin: "sbr",
    at: /pod\/routes\/unicast fd.* table 100( |$)/,
    ours: undefined,
    reason: "The reference also copies IPv6's routes into IPv4's tables, which no IPv6 rule uses.",
  },
  {
    plugin: "sbr",
    case: /^tables that rules use/,
    at: /pod\/routes\/unicast fd.* table 101( |$)/,
    ours: undefined,
    reason: "The same, if IPv4's table is the second.",
  },
  {
    plugin: "sbr",
    case: /^a lost rule/,
    at: /CHECK\/answer$/,
    ours: "error 999",
    theirs: "success",
    reason: "The reference's CHECK compares nothing.",
  },
  {
    plugin: "sbr",
    case: /^an interface that is gone/,
    at: /DEL\/pod\/rules\//,
    ours: undefined,
    reason: "Rules for addresses of a removed interface are removed, too, if the result contains the addresses.",
  },
  {
    plugin: "sbr",
    case: /^a pod that is gone/,
    at: /DEL\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "DEL succeeds if the namespace is gone (CNI specification, DEL).",
  },
];

/** Plugins that give the pod a link and need nothing else on the host. */
const LINKS = ["dummy", "host-device", "ipvlan", "macvlan", "tap", "vlan"];

const SINGLE_LINKS: readonly Difference[] = [
  {
    plugin: LINKS,
    at: /(ADD|CHECK|in pod)\/pod\/addresses\/[^/]*\/.*:.*\/(nodad|tentative)$/,
    reason:
      "Addresses are added without duplicate address detection: they are usable at once, even before there is a carrier.",
  },
  {
    plugin: LINKS,
    at: /\/pod\/routes\/local fd00:22::2 dev eth0 table local$/,
    theirs: undefined,
    reason: "During duplicate address detection, as in the reference without a carrier, an address has no route yet.",
  },
  {
    plugin: "ipvlan",
    case: /^the default route's link/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "The reference's CHECK accepts only the configuration's master, not even the one that its ADD has found.",
  },
  {
    plugin: ["dummy", "host-device", "vlan"],
    at: /ADD\/pod\/sysctls\/(ipv4\.conf\.\w+\.arp_notify|ipv6\.conf\.\w+\.ndisc_notify)$/,
    ours: "1",
    theirs: "0",
    reason: "Neighbours are notified of the pod's addresses as soon as it has them, as with macvlan and ipvlan.",
  },
  {
    plugin: "tap",
    at: /ADD\/pod\/sysctls\/ipv6\.conf\.\w+\.ndisc_notify$/,
    ours: "1",
    theirs: "0",
    reason: "Neighbours are notified of an IPv6 address as of an IPv4 one.",
  },
  {
    plugin: ["macvlan", "tap"],
    case: /^layer 2 only|port of the pod's bridge/,
    at: /ADD\/pod\/sysctls\/ipv4\.conf\.eth0\.arp_notify$/,
    ours: "1",
    theirs: "0",
    reason: "Neighbours are notified of an address that the pod assigns itself.",
  },
  {
    plugin: LINKS,
    at: /DEL\/files\/:var:lib:cni:networks(:net(:lock)?)?$/,
    ours: undefined,
    reason: "DEL without a reservation makes no folder.",
  },
  {
    plugin: LINKS,
    at: /STATUS\/files\/:var:lib:cni:networks(:net(:lock)?)?$/,
    theirs: undefined,
    reason: "STATUS of host-local checks whether it could reserve.",
  },
  {
    plugin: ["macvlan", "tap"],
    case: /^(no address left|an unknown bridge|an invalid MTU)/,
    at: /(ADD|DEL)\/pod\/(links|addresses|sysctls)\//,
    ours: undefined,
    reason: "The reference leaves its device in the pod if ADD fails after it was made.",
  },
  {
    plugin: "host-device",
    case: /^no address left/,
    at: /(ADD|DEL)\/(node|pod)\/(links|addresses|sysctls)\//,
    reason: "The reference leaves the device in the pod if ADD fails, and moves it back, down, on DEL.",
  },
  {
    plugin: "host-device",
    at: /DEL\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "DEL without a device succeeds: a second one, and one after the namespace is gone.",
  },
  {
    plugin: "host-device",
    case: /^(a pod that is gone|no namespace)/,
    at: /DEL\/files\/.*:net:(10|fd00)/,
    ours: undefined,
    reason: "The reference keeps the address of a pod whose namespace is gone forever.",
  },
  {
    plugin: "host-device",
    case: /^a host's name taken meanwhile/,
    at: /DEL\/(pod|files)\//,
    theirs: undefined,
    reason: "A device that cannot be moved back yet is unchanged, and keeps its address until it is.",
  },
  {
    plugin: "host-device",
    case: /^a host's name taken meanwhile/,
    at: /DEL\/pod\/sysctls\/ipv6.conf.eth0.(keep_addr_on_down|ndisc_notify)$/,
    reason: "Its settings, which the kernel resets when a device changes its namespace, are unchanged, too.",
  },
  {
    plugin: "tap",
    case: /^an owner and a group|^an owner, a group, and a MAC/,
    at: /ADD\/pod\/links\/eth0\/linkinfo\/info_data\/(vnet_hdr|pi)$/,
    ours: false,
    theirs: true,
    reason:
      "The reference makes it differently if both are given; the program that opens a tap sets these flags itself.",
  },
  {
    plugin: "tap",
    case: /^an owner, a group, and a MAC/,
    at: /ADD\/(answer\/interfaces\/0\/mac|pod\/links\/eth0\/address)$/,
    ours: "c2:11:22:33:44:55",
    theirs: "MAC of eth0",
    reason: "The reference ignores the MAC if an owner and a group are given.",
  },
];

const ADDRESSES: readonly Difference[] = [
  {
    plugin: "host-local",
    case: /^rejected: (a requested address|two addresses of one set)/,
    at: /last_reserved_ip\.0$/,
    ours: undefined,
    reason: "A request is rejected before anything is written.",
  },
  {
    plugin: "host-local",
    case: /^DEL with a configuration/,
    at: /DEL\/(answer|files\/.*:10\.22\.0\.2)$/,
    reason: "DEL needs only the path of the reservations from the configuration.",
  },
  {
    plugin: "host-local",
    case: /^CHECK of another address/,
    at: /CHECK\/answer$/,
    ours: "error 101",
    theirs: "success",
    reason: "CHECK compares the addresses of the result with the reserved ones.",
  },
  {
    plugin: "host-local",
    case: /^an address requested by an attachment that has one/,
    at: /ADD\/(answer|files\/.*)$/,
    reason: "An attachment gets one address of each set, even if it requests a second.",
  },
  {
    plugin: "host-local",
    case: /^(unrelated files)/,
    at: /DEL\/files\/.*:notes$/,
    theirs: undefined,
    reason: "Only a file whose name is an address is a reservation.",
  },
  {
    plugin: "host-local",
    case: /^an unknown container/,
    at: /CHECK\/files\/.*:networks(:net(:lock)?)?$/,
    ours: undefined,
    reason: "CHECK and DEL make no folder if nothing was reserved.",
  },
  {
    plugin: "host-local",
    case: /^an unused network/,
    at: /STATUS\/files\/.*:networks(:net(:lock)?)?$/,
    theirs: undefined,
    reason: "STATUS checks that ADD could write.",
  },
  {
    plugin: "host-local",
    case: /^STATUS with a folder/,
    at: /STATUS\/answer$/,
    ours: "error 50",
    theirs: "success",
    reason: "STATUS checks that ADD could write.",
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
    reason: "The network's own address and the broadcast address are never assigned, whatever the bounds are.",
  },
  {
    plugin: "host-local",
    case: /^two addresses in CNI_ARGS/,
    at: /ADD\/(answer|files\/.*)$/,
    reason: "IP in CNI_ARGS may have an address for each set, as for static.",
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
