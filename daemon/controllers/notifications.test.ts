import { expect, test } from "vitest";
import { RTPROT_WEFT } from "../../pkg/footprint.ts";
import { parseMac } from "../../pkg/ip/mac.ts";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import { addAddress, deleteAddress } from "../../pkg/kernel/address.ts";
import { changeLink, deleteLink } from "../../pkg/kernel/link.ts";
import { changeNeighbour, replaceForwarding, replaceNeighbour } from "../../pkg/kernel/neighbour.ts";
import { addRoute, deleteRoute } from "../../pkg/kernel/route.ts";
import { AF_BRIDGE, AF_INET, IFF_UP, RTM_DELLINK, RTM_NEWLINK } from "../../pkg/netlink/link.ts";
import { type Encodable, type Message, query } from "../../pkg/netlink/message.ts";
import { RTM_DELNEIGH, RTM_NEWNEIGH } from "../../pkg/netlink/neighbour.ts";
import { RTM_NEWNETCONF } from "../../pkg/netlink/netconf.ts";
import { FakeEventSocket } from "../core/fake-event-socket.ts";
import { listenToKernel } from "../core/kernel-events.ts";
import { type AttachFilter, attachReason } from "./attach/notification-filter.ts";
import { settingReason } from "./node-rules/node-rules.ts";
import { type PeersFilter, peersReason, peersTrigger } from "./peers/notification-filter.ts";

type NotificationFilter = PeersFilter & AttachFilter;

const watched = ({ linkNames, linkIndexes, bridge: pods }: NotificationFilter) => ({
  names: new Set([...linkNames, ...(pods === undefined ? [] : [pods.name])]),
  indexes: new Set([...linkIndexes, ...(pods === undefined ? [] : [pods.index])]),
});

/** Returns the reason for which one of the controllers compares. */
function reasonToCompare(message: Message, known: NotificationFilter): string | undefined {
  const reasons = [peersReason(message, known), attachReason(message, known), settingReason(message, watched(known))];
  const [first, ...others] = reasons.filter((reason) => reason !== undefined);
  for (const other of others) expect(other).toBe(first);
  return first;
}

const PROTOCOL = 88;
const UNDERLAY = 2;
const VTEP = 7;
const POD = 20;
const BRIDGE = 9;
const OWN_PORT = 4242;
const GATEWAYS = [parsePrefix("10.244.1.1/32").address];

/** The mark of a pod that was attached before the node got other subnets. */
const OUTSIDE = "cni:cbr0/c9/eth0";

const filter: NotificationFilter = {
  linkNames: new Set(["eth0", "flannel.1"]),
  linkIndexes: new Set([UNDERLAY, VTEP]),
  devices: new Map([["flannel.1", VTEP]]),
  neighbours: new Map([[`${VTEP} 10.244.2.0`, "0a:00:00:00:00:02"]]),
  forwarding: new Map([[`${VTEP} 0a:00:00:00:00:02`, "192.0.2.2"]]),
  underlayAddresses: [parsePrefix("198.51.100.1/32")],
  destinations: new Set(["10.244.2.0/24", "10.244.1.0/24"]),
  routed: undefined,
  bridge: {
    ...{ name: "cni0", index: BRIDGE, mac: "0a:00:00:00:00:01", network: "cbr0", gateways: GATEWAYS },
    outside: new Set([OUTSIDE]),
  },
  subnets: new Set(["10.244.1.0/24"]),
  routeProtocol: PROTOCOL,
  ownPort: OWN_PORT,
};

/** A notification has the layout of the request for the same change. */
function notification({ type, body }: Encodable, portId = 0): Message {
  return { type, flags: 0, sequence: 0, portId, payload: body };
}

const MAC3 = "0a:00:00:00:00:03";
const GATEWAY3 = parsePrefix("10.244.3.0/24").address;
const NEIGHBOUR = { index: VTEP, address: parsePrefix("10.244.2.0/24").address, mac: "0a:00:00:00:00:02" };
const FORWARDING = { index: VTEP, mac: NEIGHBOUR.mac, destination: parsePrefix("192.0.2.2/32").address };
/** The kernel announces the removal of an entry with the same content. */
const deleted = (entry: Encodable): Encodable => ({ ...entry, type: RTM_DELNEIGH.type, body: entry.body });

const link = (index: number, ifname: string) => query(RTM_NEWLINK, "", { index }, { ifname });
const neighbour = (index: number, family: number, type = RTM_NEWNEIGH) => query(type, "", { index, family }, {});
const address = (index: number) => addAddress({ index, prefix: parsePrefix("192.0.2.1/24") });
const bridge = ({ index = BRIDGE, flags = IFF_UP, mac = "0a:00:00:00:00:01" }) =>
  query(RTM_NEWLINK, "", { index, flags }, { ifname: "cni0", address: parseMac(mac) });
const port = ({ flags = IFF_UP, master = BRIDGE, alias = "cni:cbr0/c1/eth0" }) =>
  query(RTM_NEWLINK, "", { index: POD, flags }, { ifname: "veth1", master, ifalias: alias });
const podGone = (ifalias: string) => query(RTM_DELLINK, "", { index: POD }, { ifname: "veth1", ifalias });
const portSettings = (hairpin: number) =>
  query(
    RTM_NEWLINK,
    "",
    { index: POD, family: AF_BRIDGE },
    { ifname: "veth1", master: BRIDGE, portSettings: { hairpin } },
  );
const setting = (index: number) => query(RTM_NEWNETCONF, "", { family: AF_INET }, { index, forwarding: 0 });
const route = (destination: string, protocol: number) => ({ destination: parsePrefix(destination), protocol });

test.each<[string, Encodable, string | undefined]>([
  ["the underlay's link", link(UNDERLAY, "eth0"), "link eth0"],
  ["a device of ours", link(VTEP, "flannel.1"), "link flannel.1"],
  ["a device of ours re-created with another index", link(99, "flannel.1"), "link flannel.1"],
  ["the removal of a device of ours", deleteLink(VTEP), "link "],
  ["a pod's veth", link(POD, "veth12345678"), undefined],
  ["a renamed pod's veth", changeLink(POD, { up: true }), undefined],
  ["an address of the underlay", address(UNDERLAY), "address"],
  ["an address of a pod", address(POD), undefined],
  ["the Node's address on another link", addAddress({ index: POD, prefix: parsePrefix("198.51.100.1/24") }), "address"],
  ["an address added to the bridge", address(BRIDGE), undefined],
  ["an address removed from the bridge", deleteAddress(BRIDGE, parsePrefix("10.244.1.1/24")), "address"],
  ["the route to our own subnet removed", deleteRoute(route("10.244.1.0/24", 2)), "route"],
  ["the bridge as desired", bridge({}), undefined],
  ["the bridge set down", bridge({ flags: 0 }), "link cni0"],
  ["the bridge with another hardware address", bridge({ mac: "02:00:00:00:00:77" }), "link cni0"],
  ["the bridge re-created", bridge({ index: BRIDGE + 1 }), "link cni0"],
  ["the bridge removed", deleteLink(BRIDGE), "link "],
  ["a port of the bridge as desired", port({}), undefined],
  ["a port removed from the bridge", port({ master: 0 }), "link veth1"],
  ["a port that was set down", port({ flags: 0 }), "link veth1"],
  ["a pod's link removed", podGone("cni:cbr0/c1/eth0"), undefined],
  ["the link of a pod outside the subnets removed", podGone(OUTSIDE), "link veth1"],
  ["a port of another network", port({ master: 0, alias: "cni:other/c1/eth0" }), undefined],
  ["a port without hairpin mode", portSettings(0), "link veth1"],
  ["a port with hairpin mode", portSettings(1), undefined],
  ["forwarding of all links", setting(-1), "setting"],
  ["a setting of the underlay", setting(UNDERLAY), "setting"],
  ["a setting of a pod's link", setting(POD), undefined],
  ["a route of ours removed", deleteRoute(route("10.244.9.0/24", PROTOCOL)), "route"],
  ["a foreign route that replaces ours", addRoute(route("10.244.2.0/24", 3)), "route"],
  ["a foreign route elsewhere", addRoute(route("198.51.100.0/24", 3)), undefined],
  ["a neighbour on a device of ours", neighbour(VTEP, AF_INET), "neighbour"],
  ["a forwarding entry removed", neighbour(VTEP, AF_BRIDGE, RTM_DELNEIGH), "neighbour"],
  ["our neighbour added", replaceNeighbour(NEIGHBOUR), undefined],
  ["our neighbour with another hardware address", replaceNeighbour({ ...NEIGHBOUR, mac: MAC3 }), "neighbour"],
  ["our neighbour no longer permanent", changeNeighbour(NEIGHBOUR), "neighbour"],
  ["our neighbour removed", deleted(replaceNeighbour(NEIGHBOUR)), "neighbour"],
  ["another neighbour on a device of ours", replaceNeighbour({ ...NEIGHBOUR, address: GATEWAY3 }), "neighbour"],
  ["another neighbour removed", deleted(replaceNeighbour({ ...NEIGHBOUR, address: GATEWAY3 })), undefined],
  ["our forwarding entry added", replaceForwarding(FORWARDING), undefined],
  ["our forwarding entry to another node", replaceForwarding({ ...FORWARDING, destination: GATEWAY3 }), "neighbour"],
  ["our forwarding entry removed", deleted(replaceForwarding(FORWARDING)), "neighbour"],
  ["another forwarding entry on a device of ours", replaceForwarding({ ...FORWARDING, mac: MAC3 }), "neighbour"],
  ["another forwarding entry removed", deleted(replaceForwarding({ ...FORWARDING, mac: MAC3 })), undefined],
  ["a neighbour on the underlay", neighbour(UNDERLAY, AF_INET), undefined],
])("%s: the reason for %o is %s", (_name, sent, expected) => {
  expect(reasonToCompare(notification(sent), filter)).toBe(expected);
});

test.each<[string, Encodable, string | undefined]>([
  ["a route to a pod removed", deleteRoute(route("10.244.1.7/32", 3)), "route"],
  ["a route to a new pod", addRoute(route("10.244.1.7/32", 3)), undefined],
  ["a foreign route elsewhere removed", deleteRoute(route("198.51.100.7/32", 3)), undefined],
  ["the gateway's address removed from a pod's link", deleteAddress(POD, parsePrefix("10.244.1.1/32")), "address"],
  [
    "the gateway's address on a new pod's link",
    addAddress({ index: POD, prefix: parsePrefix("10.244.1.1/32") }),
    undefined,
  ],
  ["a pod's link set down", port({ flags: 0, master: 0 }), "link veth1"],
  ["a pod's link as desired", port({ master: 0 }), undefined],
  ["a bridge's port set down", port({ flags: 0 }), undefined],
  ["a pod's link removed", podGone("cni:cbr0/c1/eth0"), undefined],
  ["the link of a pod outside the subnets removed", podGone(OUTSIDE), "link veth1"],
])("with pods that have links of their own, %s: the reason for %o is %s", (_name, sent, expected) => {
  const subnets = [parsePrefix("10.244.1.0/24")];
  const routed = { network: "cbr0", gateways: GATEWAYS, subnets, outside: new Set([OUTSIDE]) };
  expect(reasonToCompare(notification(sent), { ...filter, bridge: undefined, routed })).toBe(expected);
});

const removed = query(RTM_DELLINK, "", { index: POD }, { ifname: "veth1", ifalias: "cni:cbr0/c1/eth0" });
const gateway = (index: number) => addAddress({ index, prefix: parsePrefix("10.244.1.1/32") });

test.each<[string, Encodable, string | undefined]>([
  ["the gateway's address on a new pod's link", gateway(POD), "address"],
  ["the gateway's address on the bridge", gateway(BRIDGE), undefined],
  ["the removal of a pod's link", removed, "link veth1"],
  ["the removal of another network's link", deleteLink(POD), undefined],
  ["a port as desired", port({}), undefined],
])("with pods of both kinds, %s: the reason for %o is %s", (_name, sent, expected) => {
  const routed = {
    network: "cbr0",
    gateways: GATEWAYS,
    subnets: [parsePrefix("10.244.1.0/24")],
    outside: new Set<string>(),
  };
  expect(reasonToCompare(notification(sent), { ...filter, routed })).toBe(expected);
});

test.each([
  ["a route of weft's by the bridge", RTPROT_WEFT, BRIDGE, "route"],
  ["a route of weft's by another link", RTPROT_WEFT, VTEP, undefined],
  ["a foreign route by the bridge", 3, BRIDGE, undefined],
])("%s, for pods of former subnets: the reason for %i by %i is %s", (_name, protocol, link, reason) => {
  const sent = deleteRoute({ ...route("10.244.9.7/32", protocol), outputIndex: link });
  expect(attachReason(notification(sent), filter)).toBe(reason);
});

test("with all pods on the bridge, the first pod with its own link triggers a pass, and the removal of a port does not", () => {
  expect(reasonToCompare(notification(gateway(POD)), filter)).toBe("address");
  expect(reasonToCompare(notification(removed), filter)).toBeUndefined();
});

test("the echo of our own request triggers nothing", () => {
  const sent = deleteRoute(route("10.244.2.0/24", PROTOCOL));
  expect(reasonToCompare(notification(sent, OWN_PORT), filter)).toBeUndefined();
  expect(reasonToCompare(notification(sent, 1), filter)).toBe("route");
  expect(reasonToCompare(notification(sent, 0), { ...filter, ownPort: 0 })).toBe("route");
});

function listen(known: NotificationFilter | undefined) {
  const socket = new FakeEventSocket();
  const heard: string[] = [];
  listenToKernel(socket, {
    onMessage: (message) => {
      const trigger = peersTrigger(message, known);
      if (trigger !== undefined) heard.push(trigger.isPatient ? `${trigger.reason}, maybe by us` : trigger.reason);
    },
    onUnreadable: () => heard.push("unreadable notification, maybe by us"),
    onOverrun: () => heard.push("overrun"),
    onBroken: (error) => heard.push(`broken: ${error.message}`),
  });
  return { socket, heard };
}

test("each notification of a datagram is filtered", () => {
  const { socket, heard } = listen(filter);
  socket.deliver(link(POD, "veth12345678"), link(UNDERLAY, "eth0"), address(UNDERLAY));
  expect(heard).toEqual(["link eth0", "address"]);
  expect(socket.groups).toEqual([1, 3, 5, 7, 9, 11, 24, 25]);
});

test("changes by another process, and changes of the underlay, are not taken for echoes of ours", () => {
  const { socket, heard } = listen(filter);
  socket.deliver(link(UNDERLAY, "eth0"), address(UNDERLAY), link(VTEP, "flannel.1"), neighbour(VTEP, AF_INET));
  socket.deliverFrom(OWN_PORT + 1, link(VTEP, "flannel.1"));
  socket.deliverFrom(OWN_PORT, link(VTEP, "flannel.1"));
  expect(heard).toEqual([
    "link eth0",
    "address",
    "link flannel.1, maybe by us",
    "neighbour, maybe by us",
    "link flannel.1",
  ]);
});

test("every notification triggers a pass while nothing is programmed", () => {
  const { socket, heard } = listen(undefined);
  socket.deliver(link(POD, "veth12345678"));
  expect(heard).toEqual(["kernel, maybe by us"]);
});

test("an unreadable datagram counts as a change", () => {
  const { socket, heard } = listen(filter);
  socket.deliverBytes(Uint8Array.of(255, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1));
  expect(heard).toEqual(["unreadable notification, maybe by us"]);
});

test("an overrun is distinguished from a broken socket", () => {
  const { socket, heard } = listen(filter);
  socket.fail(105);
  socket.fail(9);
  expect(heard).toEqual(["overrun", expect.stringContaining("broken: recvmsg netlink: bad file descriptor")]);
});

test("a created or re-created bridge triggers a comparison of its settings", () => {
  const reason = (index: number) => settingReason(notification(bridge({ index })), watched(filter));
  expect([reason(BRIDGE + 1), reason(BRIDGE)]).toEqual(["link cni0", undefined]);
});
