/**
 * A throw-away backend: test/backend adds this folder to the other backends, registers it, and runs nodes with it.
 * Pods' packets use one device, `throw0`, which connects only nodes with the same `Tag`. Supports IPv4 underlays only.
 */

import type { Backend, BackendConf, BackendTask, KnownDevice } from "../../../pkg/backend/contract.ts";
import { deriveMac } from "../../../pkg/backend/derived-mac.ts";
import type { Peer } from "../../../pkg/backend/node.ts";
import type { PeerProblem } from "../../../pkg/backend/state.ts";
import type { ConfigObject } from "../../../pkg/cni/config.ts";
import { deviceAlias } from "../../../pkg/kernel/device.ts";
import { vtepDevice } from "../../../pkg/kernel/vtep-device.ts";
import { announcement } from "./announcement.ts";
import { channels } from "./channels.ts";
import { inspection } from "./inspection.ts";
import { manual } from "./manual.ts";

export const NAME = "throwaway";
const DEVICE = "throw0";
const PORT = 4791;
/** More than necessary, so that the pods' MTU shows its effect. */
const OVERHEAD = 100;

export interface ThrowawayConf extends BackendConf {
  readonly tag: number;
}

export interface ThrowawayPeer extends Peer {
  /** Undefined if the node has announced nothing valid. */
  readonly station?: { readonly tag: number; readonly mac: string } | undefined;
}

export const throwaway: Backend<ThrowawayConf, ThrowawayPeer, KnownDevice, number> = {
  name: NAME,
  words: [NAME],
  readConf: (object: ConfigObject, { type }) => ({
    type: NAME,
    tag: (type === NAME ? object.optionalInteger("Tag", { min: 1, max: 1000 }) : undefined) ?? 1,
  }),
  executable: undefined,
  takesPlainRoutes: false,
  seesPods: false,
  reachesUnannounced: false,
  decodePeer(base, object) {
    const station = object.object("station");
    const mac = station.optionalMac("mac");
    return { ...base, station: mac === undefined ? undefined : { tag: station.requiredInteger("tag"), mac } };
  },
  plan,
  manual,
  announcement,
  channels,
  inspection,
};

function plan({ conf, isOwn, node, sending, keep }: BackendTask<ThrowawayConf, ThrowawayPeer, KnownDevice, number>) {
  const local = node.underlay.local[4];
  const tag = isOwn ? conf.tag : (sending[0]?.peer.station?.tag ?? keep[0]);
  if (local === undefined || tag === undefined) return {};
  const mtu = node.underlay.mtu - OVERHEAD;
  const mac = deriveMac(node.name, DEVICE);
  const device = vtepDevice(
    {
      ...{ name: DEVICE, vni: tag, port: PORT, local, underlayIndex: node.underlay.index, mac, mtu },
      addresses: node.subnets.map(({ address }) => ({ address, length: 32 })),
      alias: deviceAlias(NAME),
    },
    { backend: NAME },
  );
  const problems: PeerProblem[] = [];
  const entries = sending.flatMap(({ peer: { name, station, addresses }, subnets }) => {
    const [destination] = addresses;
    if (station?.tag !== tag || destination === undefined) {
      const reason = station === undefined ? "it has announced no station" : `its tag is ${station.tag}, not ${tag}`;
      problems.push({ peer: name, trouble: "NotAnnounced", reason });
      return [];
    }
    return {
      peer: name,
      routes: subnets.map((subnet) => ({ destination: subnet, gateway: subnet.address, by: { device: DEVICE } })),
      neighbours: subnets.map(({ address }) => ({ device: DEVICE, address, mac: station.mac })),
      forwarding: [{ device: DEVICE, mac: station.mac, destination }],
    };
  });
  return { devices: [device], entries, mtu, problems, endpoints: { 4: mac } };
}
