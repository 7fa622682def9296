import { expect, test } from "vitest";
import { formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import { parsePrefix, parseSubnet } from "../../../pkg/ip/prefix.ts";
import type { LinkAddress } from "../../../pkg/kernel/address.ts";
import type { Link } from "../../../pkg/kernel/link.ts";
import type { ObservedRoute } from "../../../pkg/kernel/route.ts";
import { RT_SCOPE, RT_TABLE_MAIN } from "../../../pkg/netlink/route.ts";
import { chooseUnderlay, type LocalState, type UnderlayCriteria, UnderlayError } from "./underlay.ts";

function link(index: number, name: string): Link {
  return {
    index,
    name,
    mtu: 1500,
    mac: "02:00:00:00:00:01",
    isUp: true,
    isPromiscuous: false,
    isAllMulticast: false,
    txQueueLength: 1000,
    isOperational: true,
    kind: "",
    masterIndex: 0,
    peerIndex: 0,
    alias: "",
    vxlan: undefined,
    bridge: undefined,
    port: undefined,
  };
}

const LONG_NAME = "enp0s31f6verylongname";

function address(index: number, text: string, scope: number = RT_SCOPE.universe): LinkAddress {
  return { index, prefix: parsePrefix(text), scope, isTentative: false, isDuplicate: false };
}

function defaultRoute(outputIndex: number, text: string, priority = 0): ObservedRoute {
  return {
    destination: parsePrefix(text),
    outputIndex,
    priority,
    protocol: 3,
    table: RT_TABLE_MAIN,
    scope: RT_SCOPE.universe,
    type: 1,
    isMultipath: false,
  };
}

const state: LocalState = {
  links: [link(1, "lo"), link(2, "eth0"), { ...link(3, "eth1"), alternativeNames: [LONG_NAME] }],
  addresses: [
    address(1, "127.0.0.1/8", RT_SCOPE.host),
    address(2, "192.0.2.1/24"),
    address(2, "fe80::1/64", RT_SCOPE.link),
    address(3, "198.51.100.9/24"),
    address(3, "198.51.100.1/24"),
    address(3, "2001:db8::1/64"),
  ],
  routes: [defaultRoute(3, "0.0.0.0/0", 200), defaultRoute(2, "0.0.0.0/0", 100), defaultRoute(3, "::/0")],
};

interface Case {
  readonly iface?: string;
  readonly cidr?: readonly string[];
  readonly regex?: RegExp;
  readonly canReach?: string;
  readonly last?: string;
  readonly publicIp?: readonly string[];
  readonly internal?: readonly string[];
}

function criteria({ iface, cidr = [], regex, canReach, last, publicIp = [], internal = [] }: Case): UnderlayCriteria {
  return {
    ...{ iface, ifaceCidr: cidr.map(parseSubnet), ifaceRegex: regex, last },
    ifaceCanReach: canReach === undefined ? undefined : parseAddress(canReach),
    publicIp: publicIp.map(parseAddress),
    internalAddresses: internal.map(parseAddress),
  };
}

function choose(given: Case, of: LocalState = state) {
  const { link, ipv4, ipv6, reason } = chooseUnderlay(criteria(given), of);
  const text = (one: typeof ipv4) => one && `${formatAddress(one.local)} as ${formatAddress(one.announced)}`;
  return [link.name, text(ipv4), text(ipv6), reason];
}

test.each<[string, Case, ReturnType<typeof choose>]>([
  [
    "the Node's InternalIP selects interface and address",
    { internal: ["198.51.100.1", "2001:db8::1"] },
    ["eth1", "198.51.100.1 as 198.51.100.1", "2001:db8::1 as 2001:db8::1", "the Node's InternalIP 198.51.100.1"],
  ],
  [
    "without a local InternalIP, the default route with the lowest metric selects the interface",
    { internal: ["203.0.113.5"] },
    ["eth0", "192.0.2.1 as 192.0.2.1", undefined, "the default route"],
  ],
  [
    "--iface overrides the InternalIP, which then selects among the interface's addresses",
    { iface: "eth1", internal: ["192.0.2.1", "198.51.100.1"] },
    ["eth1", "198.51.100.1 as 198.51.100.1", "2001:db8::1 as 2001:db8::1", "--iface eth1"],
  ],
  [
    "--iface accepts an alternative name",
    { iface: LONG_NAME, internal: ["198.51.100.1"] },
    ["eth1", "198.51.100.1 as 198.51.100.1", "2001:db8::1 as 2001:db8::1", `--iface ${LONG_NAME}`],
  ],
  [
    "--iface-cidr selects interface and address",
    { cidr: ["203.0.113.0/24", "198.51.100.0/29"], internal: ["192.0.2.1"] },
    [
      "eth1",
      "198.51.100.1 as 198.51.100.1",
      "2001:db8::1 as 2001:db8::1",
      "--iface-cidr 203.0.113.0/24,198.51.100.0/29",
    ],
  ],
  [
    "--iface-regex matches names, but never the loopback",
    { regex: /^(lo|.*1)$/ },
    ["eth1", "198.51.100.9 as 198.51.100.9", "2001:db8::1 as 2001:db8::1", "--iface-regex ^(lo|.*1)$"],
  ],
  [
    "--iface-regex matches addresses if no name matches",
    { regex: /^198\.51\./ },
    ["eth1", "198.51.100.9 as 198.51.100.9", "2001:db8::1 as 2001:db8::1", "--iface-regex ^198\\.51\\."],
  ],
  [
    "if --iface-regex matches several interfaces, the previous choice is kept",
    { regex: /eth/, last: "eth1" },
    ["eth1", "198.51.100.9 as 198.51.100.9", "2001:db8::1 as 2001:db8::1", "--iface-regex eth"],
  ],
  [
    "--iface-can-reach uses the route with the longest prefix, then the lowest metric",
    { canReach: "10.7.0.1" },
    ["eth0", "192.0.2.1 as 192.0.2.1", undefined, "--iface-can-reach 10.7.0.1"],
  ],
  [
    "if a flag finds no interface, the next flag is used",
    { iface: "eth7", canReach: "2001:db8:7::1", internal: ["192.0.2.1"] },
    ["eth1", "198.51.100.9 as 198.51.100.9", "2001:db8::1 as 2001:db8::1", "--iface-can-reach 2001:db8:7::1"],
  ],
  [
    "while the InternalIP is missing, the interface stays the same regardless of the default route",
    { internal: ["203.0.113.5"], last: "eth1" },
    ["eth1", "198.51.100.9 as 198.51.100.9", "2001:db8::1 as 2001:db8::1", "the previously chosen interface"],
  ],
  [
    "a moved InternalIP selects another interface",
    { internal: ["192.0.2.1"], last: "eth1" },
    ["eth0", "192.0.2.1 as 192.0.2.1", undefined, "the Node's InternalIP 192.0.2.1"],
  ],
  [
    "a local --public-ip selects its interface",
    { publicIp: ["198.51.100.9"], internal: ["192.0.2.1"] },
    ["eth1", "198.51.100.9 as 198.51.100.9", "2001:db8::1 as 2001:db8::1", "--public-ip 198.51.100.9"],
  ],
  [
    "--public-ip behind a NAT is announced, and not used as a source",
    { publicIp: ["203.0.113.7"], internal: ["192.0.2.1"] },
    ["eth0", "192.0.2.1 as 203.0.113.7", undefined, "the Node's InternalIP 192.0.2.1"],
  ],
])("%s", (_name, given, expected) => {
  expect(choose(given)).toEqual(expected);
});

test("a host with IPv6 only uses its IPv6 default route", () => {
  const only6 = { ...state, routes: [defaultRoute(3, "::/0")], addresses: [address(3, "2001:db8::1/64")] };
  expect(choose({}, only6)).toEqual(["eth1", undefined, "2001:db8::1 as 2001:db8::1", "the default route"]);
});

test("a duplicate or link-local address is not used", () => {
  const duplicate = { ...address(2, "2001:db8::2/64"), isDuplicate: true };
  const other = { ...state, addresses: [...state.addresses, duplicate] };
  expect(choose({ iface: "eth0" }, other)).toEqual(["eth0", "192.0.2.1 as 192.0.2.1", undefined, "--iface eth0"]);
});

test.each<[string, Case, LocalState, RegExp]>([
  [
    "flags that find no interface",
    { cidr: ["203.0.113.0/24"], regex: /^wg/ },
    state,
    /--iface-cidr 203\.0\.113\.0\/24, --iface-regex \^wg: no such interface; available: eth0, eth1/,
  ],
  ["an unknown --iface", { iface: "eth7" }, state, /--iface eth7: no such interface; available: eth0, eth1/],
  [
    "no criterion that applies",
    { internal: ["203.0.113.5"] },
    { ...state, routes: [] },
    /InternalIP \(203\.0\.113\.5\) and there is no default route; choose one of eth0, eth1 with --iface, --iface-cidr/,
  ],
  [
    "an interface without an address",
    { iface: "eth0" },
    { ...state, addresses: [] },
    /interface eth0 \(--iface eth0\) has no address/,
  ],
])("%s is an error that names the remedy", (_name, given, of, message) => {
  expect(() => choose(given, of)).toThrow(UnderlayError);
  expect(() => choose(given, of)).toThrow(message);
});
