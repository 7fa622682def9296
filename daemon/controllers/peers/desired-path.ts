/**
 * Computes the desired state of the data path. It includes channels that this node has announced, and those that peers
 * may still use until they see the new announcement.
 */
import { BACKENDS, backendNamed } from "../../../pkg/backend/backends.ts";
import type { Channels, KnownDevices } from "../../../pkg/backend/contributions.ts";
import { desiredState } from "../../../pkg/backend/desired.ts";
import { type NetConf, settingsOf } from "../../../pkg/backend/net-conf.ts";
import type { LocalNode, Peer } from "../../../pkg/backend/node.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { OldChannels } from "./old-channels.ts";
import type { SliceBasis } from "./peer-slices.ts";

export interface ComputedPath {
  readonly basis: SliceBasis;
  readonly state: DesiredState;
  /** The time until a channel expires that is no longer announced; undefined if there is none. */
  readonly nextMs: number | undefined;
}

export class DesiredPath {
  readonly #clock: Pick<Clock, "nowMs">;
  readonly #oldChannels = new Map(BACKENDS.map((backend) => [backend, new OldChannels()]));

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /** `own` is this node as it is announced. */
  compute(conf: NetConf, node: LocalNode, peers: readonly Peer[], known: KnownDevices, own: Peer): ComputedPath {
    const nowMs = this.#clock.nowMs();
    const announced = announcedChannels(conf, own);
    const needed = desiredState(conf, node, peers, known, announced);
    const kept = new Map<string, readonly unknown[]>();
    const waits: number[] = [];
    for (const [backend, old] of this.#oldChannels) {
      const devices = needed.dataPath.devices.filter((device) => device.backend === backend.name);
      const had = backend.channels.of(known.get(backend.name) ?? []);
      const still = old.kept(had, backend.channels.in(devices), nowMs);
      waits.push(old.nextMs(nowMs) ?? Number.POSITIVE_INFINITY);
      if (still.length > 0) kept.set(backend.name, [...(announced.get(backend.name) ?? []), ...still]);
    }
    const soonestMs = Math.min(...waits);
    const nextMs = Number.isFinite(soonestMs) ? soonestMs : undefined;
    const keep: Channels = kept.size === 0 ? announced : new Map([...announced, ...kept]);
    const state = kept.size === 0 ? needed : desiredState(conf, node, peers, known, keep);
    return { basis: { conf, node, known, keep }, state, nextMs };
  }
}

/** Returns the channels that this node has announced, as last seen. */
function announcedChannels(conf: NetConf, own: Peer): Channels {
  const backend = backendNamed(own.backendType);
  const settings = backend && settingsOf(conf, backend);
  return new Map(settings && backend ? [[backend.name, backend.channels.to(settings, own)]] : []);
}
