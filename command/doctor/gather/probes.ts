/** Probes a few peers: over the underlay, with a packet of its full MTU, and through the tunnel. */

import { backendOf } from "../../../pkg/backend/backends.ts";
import type { Peer } from "../../../pkg/backend/node.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import type { Address, Family } from "../../../pkg/ip/address.ts";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { isSamePrefix } from "../../../pkg/ip/prefix.ts";
import type { System } from "../../../pkg/sys/system.ts";
import { type Answer, ask } from "../../node/probes.ts";
import type { KnownNodes } from "../../node/run-dir.ts";
import type { Probe } from "../facts.ts";

/** The number of peers that are probed. weft status probes all. */
const ASKED = 3;
/** The length of the IP and UDP headers. */
const HEADERS: Readonly<Record<Family, number>> = { 4: 28, 6: 48 };
/** Sizes to try if the full size is not answered. The last is the minimum that IPv6 guarantees (RFC 8200 section 5). */
const SIZES = [1492, 1450, 1400, 1340, 1280];

interface Asked {
  readonly peer: Peer;
  readonly to: Address;
  readonly from: Address;
}

export function probePeers(
  system: System,
  { table, desired }: { readonly table: KnownNodes; readonly desired: DesiredState },
  timeoutMs: number,
): Probe[] {
  const { backend } = table.conf;
  const { underlay } = table.node;
  const configured = backendOf(backend).inspection.underlayMtu?.(backend);
  const fullBytes = Math.min(configured ?? underlay.mtu, underlay.mtu);
  const asked = someOf(table.peers).flatMap((peer): Asked[] => {
    const to = peer.addresses.find(({ family }) => underlay.local[family] !== undefined);
    const from = to === undefined ? undefined : underlay.local[to.family];
    return to === undefined || from === undefined ? [] : [{ peer, to, from }];
  });
  const question = ({ to, from }: Asked, bytes: number) => ({
    to,
    from,
    bytes: bytes - HEADERS[to.family],
    isWhole: true,
  });
  // Probes of a kind run in parallel, so that silent peers cost one time-out.
  const full = ask(
    system,
    asked.map((one) => question(one, fullBytes)),
    timeoutMs,
  );
  const isFull = (at: number) => full[at]?.isAnswered === true;
  const cut = asked.filter((_, at) => !isFull(at));
  const small = new Map(zip(cut, ask(system, cut, timeoutMs)));
  const tunnels = asked.map(({ peer }) => tunnelTo(peer, desired));
  const through = tunnels.flatMap((tunnel) =>
    tunnel === undefined ? [] : [{ tunnel, to: tunnel.address, from: tunnel.local }],
  );
  const heard = new Map(zip(through, ask(system, through, timeoutMs)).map(([{ tunnel }, answer]) => [tunnel, answer]));
  const sizes = SIZES.filter((bytes) => bytes < fullBytes);
  const tried = cut
    .filter((one) => small.get(one)?.isAnswered === true)
    .flatMap((one) => sizes.map((bytes) => ({ one, bytes })));
  const answers = ask(
    system,
    tried.map(({ one, bytes }) => question(one, bytes)),
    timeoutMs,
  );
  const passed = zip(tried, answers);
  return asked.map((one, at) => {
    const tunnel = tunnels[at];
    return {
      peer: one.peer.name,
      address: formatAddress(one.to),
      fullBytes,
      isFullAnswered: isFull(at),
      isAnswered: isFull(at) || small.get(one)?.isAnswered === true,
      largestBytes: passed.find(([attempt, answer]) => attempt.one === one && answer.isAnswered)?.[0].bytes,
      tunnel:
        tunnel === undefined
          ? undefined
          : {
              device: tunnel.device,
              address: formatAddress(tunnel.address),
              isAnswered: heard.get(tunnel)?.isAnswered === true,
            },
    };
  });
}

function zip<A>(questions: readonly A[], answers: readonly Answer[]): [A, Answer][] {
  return questions.map((one, at) => [one, answers[at] ?? { isAnswered: false, afterMs: 0 }]);
}

/** Selects the first, the last, and one in the middle: the same peers each time. */
function someOf(peers: readonly Peer[]): Peer[] {
  if (peers.length <= ASKED) return [...peers];
  const places = Array.from({ length: ASKED }, (_, at) => Math.floor((at * (peers.length - 1)) / (ASKED - 1)));
  return places.flatMap((at) => peers[at] ?? []);
}

/**
 * Returns the device to the peer, the peer's address on it (the first of its subnet), and this node's own address on
 * it.
 */
export function tunnelTo(peer: Peer, { dataPath }: DesiredState) {
  for (const subnet of peer.subnets) {
    const route = dataPath.routes.find(({ destination }) => isSamePrefix(destination, subnet));
    if (route === undefined || !("device" in route.by)) continue;
    const { device } = route.by;
    const own = dataPath.devices.find(({ name }) => name === device);
    const local = own?.addresses.find(({ address }) => address.family === subnet.address.family)?.address;
    if (local !== undefined) return { device, address: route.destination.address, local };
  }
  return undefined;
}
