/** Where ours is meant to differ from the reference plugins 1.9.1, and why: one row for each. */
import type { Difference } from "./comparison.ts";

const EVERYWHERE: readonly Difference[] = [
  {
    at: /ADD\/answer\/dns$/,
    ours: undefined,
    theirs: {},
    reason: "An empty dns in a result before CNI 1.0.0 says nothing.",
  },
  {
    at: /files\/.*:lock\/mode$/,
    reason: "A lock file is not executable.",
  },
];

const BRIDGE: readonly Difference[] = [
  {
    plugin: "bridge",
    at: /node\/links\/veth\d\/txqlen$/,
    ours: 1000,
    theirs: undefined,
    reason:
      "The reference's 0 is a library's default; the kernel's lets a queueing discipline that is added later have a queue.",
  },
  {
    plugin: "bridge",
    at: /node\/links\/veth\d\/ifalias$/,
    ours: /^"cni:net\/c\d\/eth\d"$/,
    theirs: undefined,
    reason: "The host's end is marked with its owner: GC and DEL without a namespace find it by that.",
  },
  {
    plugin: "bridge",
    at: /pod\/sysctls\/ipv6\.conf\.eth0\.accept_dad$/,
    ours: "1",
    theirs: "0",
    reason: "Where no IPv6 address is given, the pod's own settings for IPv6 are left alone.",
  },
  {
    plugin: "bridge",
    at: /addresses\/(cni0|eth0)\/.*\/nodad$/,
    ours: true,
    theirs: undefined,
    reason: "An address is added as one that need not be probed: it is usable at once, whatever the device's settings.",
  },
  {
    plugin: "bridge",
    at: /(node\/links\/cni0\/address|ADD\/answer\/interfaces\/0\/mac)$/,
    ours: "MAC of cni0",
    theirs: /"(MAC of veth1|00:00:00:00:00:00)"/,
    reason: "A bridge without an address keeps its hardware address, too, whichever ports come and go.",
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
    case: /^layer 2 only/,
    at: /CHECK\/answer$/,
    ours: "success",
    theirs: "error 999",
    reason: "CHECK of an attachment without IPAM always fails in the reference.",
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
    case: /^(no result before it|an unknown policy)/,
    at: /ADD\/answer$/,
    ours: "error 7",
    theirs: "error 999",
    reason: "A configuration that is wrong has the specification's code for it.",
  },
  {
    plugin: "firewall",
    case: /^backend iptables/,
    at: /ADD\/answer$/,
    ours: "error 2",
    reason: "iptables is never executed: nftables does its work, also in iptables' tables on nf_tables.",
  },
  {
    plugin: "firewall",
    case: /^an unknown backend/,
    at: /ADD\/answer$/,
    ours: "error 7",
    reason: "The reference takes a name that it does not know for none.",
  },
];

export const DIFFERENCES: readonly Difference[] = [...EVERYWHERE, ...BRIDGE, ...LOOPBACK, ...FIREWALL];
