import { expect, test } from "vitest";
import { attribution } from "../../../pkg/backend/attribution.ts";
import { joinEntries } from "../../../pkg/backend/contributions.ts";
import type { VxlanPeer } from "../../../pkg/backend/vxlan/peer.ts";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { parsePrefix } from "../../../pkg/ip/prefix.ts";
import { deleteLink, type Link } from "../../../pkg/kernel/link.ts";
import { deleteForwarding, replaceForwarding, replaceNeighbour } from "../../../pkg/kernel/neighbour.ts";
import { addRoute, deleteRoute, replaceRoute } from "../../../pkg/kernel/route.ts";
import { vtepDevice } from "../../../pkg/kernel/vtep-device.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import { ContentionError } from "../../../pkg/reconcile/repair-gate.ts";
import { SeveralFailures } from "../../core/attempts.ts";
import { PeerRefusedError } from "../../core/drivers/programmer.ts";
import { Health } from "../../core/health.ts";
import { openLog } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import type { Happening } from "../../sources/events.ts";
import { isAboutPeers, PeerConditions, refusedError } from "./peer-conditions.ts";

const peer = (number: number): VxlanPeer => ({
  name: `n${number}`,
  subnets: [parsePrefix(`10.244.${number}.0/24`)],
  addresses: [parseAddress(`192.0.2.${number}`)],
  backendType: "vxlan",
  vtepMacs: { 4: `0a:00:00:00:00:0${number}` },
});
const peers = [2, 3, 4, 5].map(peer);
const VTEP = vtepDevice({
  ...{ name: "flannel.1", vni: 1, port: 8472, local: parseAddress("192.0.2.1"), underlayIndex: 2 },
  ...{ mac: "0a:00:00:00:00:01", mtu: 1450, addresses: [] },
});
const entries = peers.map(({ name, subnets, addresses, vtepMacs: { 4: mac = "" } }) => ({
  peer: name,
  routes: subnets.map((destination) => ({ destination, gateway: destination.address, by: { device: VTEP.name } })),
  neighbours: subnets.map(({ address }) => ({ device: VTEP.name, address, mac })),
  forwarding: addresses.map((destination) => ({ device: VTEP.name, mac, destination })),
}));
const noPeer = () => undefined;
/** Attributes VTEP entries on the device 4 to their peers. */
const peerOf = attribution(
  {
    dataPath: { devices: [VTEP], ...joinEntries([entries]) },
    entries: [entries],
  },
  { links: [{ index: 4, name: VTEP.name } as Link] },
);
const refusal = (request: Request) => new NetlinkError(request, 101, undefined, "a test");

function bench() {
  const health = new Health(new ManualClock());
  const metrics = new Metrics();
  const told: string[] = [];
  const events = { report: ({ reason, message }: Happening) => told.push(`${reason} ${message}`) };
  const conditions = new PeerConditions({ health, metrics, events, log: openLog("fatal", "n1") });
  return { health, metrics, conditions, told };
}

test("a peer off the link is named in readiness and metrics until it is reachable", async () => {
  const { health, metrics, conditions } = bench();
  const problems = [{ peer: "n3", trouble: "OffLink", reason: "198.51.100.3 is not on this node's link" } as const];
  expect(conditions.report(peers, problems, { conflicts: [], refusals: [] }, noPeer)).toBe(3);
  expect(health.readiness().text).toContain("[!] peers: n3: 198.51.100.3 is not on this node's link");
  expect(await metrics.text()).toContain('weft_peer_trouble{peer="n3",reason="OffLink"} 1');
  expect(conditions.report(peers, [], { conflicts: [], refusals: [] }, noPeer)).toBe(4);
  expect(health.readiness().text).not.toContain("n3");
  expect(await metrics.text()).not.toContain('peer="n3"');
});

test("a lasting fault is reported in one Event each time that it occurs", () => {
  const { conditions, told } = bench();
  const offLink = { peer: "n3", trouble: "OffLink", reason: "198.51.100.3 is not on this node's link" } as const;
  const early = { peer: "n4", trouble: "NotAnnounced", reason: "it has announced no backend yet" } as const;
  for (const problems of [[offLink, early], [offLink], [], [offLink]])
    conditions.report(peers, problems, { conflicts: [], refusals: [] }, noPeer);
  const text = "PeerOffLink n3: 198.51.100.3 is not on this node's link";
  expect(told).toEqual([text, text]);
});

test("a refusal is reported with the peer that it concerns", async () => {
  const { health, metrics, conditions } = bench();
  const refusals = [
    refusal(
      addRoute({ destination: parsePrefix("10.244.2.0/24"), gateway: parseAddress("10.244.2.0"), outputIndex: 4 }),
    ),
    refusal(replaceNeighbour({ index: 4, address: parseAddress("10.244.3.0"), mac: "0a:00:00:00:00:03" })),
    refusal(replaceForwarding({ index: 4, mac: "0a:00:00:00:00:04", destination: parseAddress("192.0.2.4") })),
    refusal(deleteRoute({ destination: parsePrefix("10.244.9.0/24") })),
  ];
  expect(conditions.report(peers, [], { conflicts: [], refusals }, peerOf)).toBe(1);
  const { text } = health.readiness();
  for (const name of ["n2", "n3", "n4"]) expect(text).toContain(`[!] peers: ${name}: `);
  expect(text).toContain("[!] peers: ip route del 10.244.9.0/24");
  expect((await metrics.text()).match(/reason="Refused"/g)).toHaveLength(3);
});

test("contention concerns single peers as long as at least one peer is not affected", () => {
  const contention = (...changes: Request[]) =>
    new ContentionError(
      changes.map(({ object: identity, text }) => ({ identity, text })),
      1000,
      0,
    );
  const route = replaceRoute({ destination: parsePrefix("10.244.2.0/24"), gateway: parseAddress("10.244.2.0") });
  const otherRoute = replaceRoute({ destination: parsePrefix("10.244.3.0/24") });
  const refused = new PeerRefusedError([refusal(addRoute({ destination: parsePrefix("10.244.2.0/24") }))]);
  expect(isAboutPeers(contention(route), 3)).toBe(true);
  expect(isAboutPeers(contention(route, deleteForwarding({ index: 7, mac: "0a:00:00:00:00:03" })), 3)).toBe(true);
  expect(isAboutPeers(contention(route, otherRoute), 2)).toBe(false);
  expect(isAboutPeers(contention(deleteLink(7)), 3)).toBe(false);
  expect(isAboutPeers(new SeveralFailures([refused, contention(route)]), 3)).toBe(true);
  expect(isAboutPeers(new SeveralFailures([refused, new Error("no space left")]), 3)).toBe(false);
});

test("refusals concern single peers as long as all are about peers and at least one peer is reachable", () => {
  const route = refusal(addRoute({ destination: parsePrefix("10.244.2.0/24") }));
  const device = refusal(deleteLink(9));
  expect(refusedError([route], { peers: 3, connected: 2 })).toBeInstanceOf(PeerRefusedError);
  expect(refusedError([route], { peers: 1, connected: 0 })).toBeInstanceOf(PeerRefusedError);
  expect(refusedError([route], { peers: 3, connected: 0 })).not.toBeInstanceOf(PeerRefusedError);
  expect(refusedError([route, device], { peers: 3, connected: 2 })).not.toBeInstanceOf(PeerRefusedError);
});
