/**
 * Checksum offload of the VXLAN devices stays on, unless the hardware below spoils it: some drivers send encapsulated
 * packets with checksums that nobody has filled in, and whatever is no ICMP is lost.
 *
 * The proof is a datagram to a closed port of a peer's VTEP: its "port unreachable" is only sent for a datagram whose
 * checksum is right, by weft's peers and flannel's alike. Only where peers answer without the offload and not with it,
 * twice in turn, is it switched off.
 */

import { Backoff } from "../../../pkg/cluster/backoff.ts";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { type Address, formatAddress } from "../../../pkg/ip/address.ts";
import type { LinkReference } from "../../../pkg/kernel/link.ts";
import type { Logger } from "../../core/log.ts";
import type { Metrics } from "../../core/metrics.ts";
import type { GuardedDevice } from "../facts.ts";

export interface Offload {
  isOn(device: LinkReference): Promise<boolean>;
  set(device: LinkReference, isOn: boolean): Promise<void>;
}

export interface ChecksumGuardParts {
  readonly offload: Offload;
  /** True when `peer` has answered a datagram from `local`; false when it stayed silent. */
  readonly probe: (local: Address, peer: Address) => Promise<boolean>;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, "checksumOffload">;
  readonly log: Logger;
  /** Told when the offload was switched off, in words for an operator. */
  readonly onBroken: (message: string) => void;
}

/** So many peers are asked: one that is down, or answers nobody, proves nothing. */
const ASKED = 3;
const RETRY = { initialMs: 10_000, maxMs: 3_600_000 };

/** `silent`: no peer answered either way, which proves nothing. `unsure`: peers answered without the offload, once. */
type Verdict = "judged" | "silent" | "unsure";

export class ChecksumGuard {
  readonly #parts: ChecksumGuardParts;
  /** By name: the device that was judged, or that is being tried. */
  readonly #judged = new Map<string, number>();
  readonly #retry = new Map<string, { readonly backoff: Backoff; dueMs: number }>();
  #running: Promise<void> = Promise.resolve();
  #isBusy = false;
  #isStopped = false;
  #devices: readonly GuardedDevice[] = [];
  #cancelTimer: () => void = () => undefined;

  constructor(parts: ChecksumGuardParts) {
    this.#parts = parts;
  }

  /** Tries what was not judged yet, in the background; called after each pass. */
  watch(devices: readonly GuardedDevice[]): void {
    this.#devices = devices;
    this.#run();
  }

  #run(): void {
    if (this.#isBusy || this.#isStopped) return;
    const due = this.#devices.filter((device) => device.peers.length > 0 && this.#isDue(device));
    if (due.length === 0) return;
    this.#isBusy = true;
    this.#running = this.#tryAll(due).finally(() => {
      this.#isBusy = false;
    });
  }

  /** Resolves when nothing is under way. */
  settled(): Promise<void> {
    return this.#running;
  }

  /** No peer is asked after this call; resolves when nothing is under way, and what was being tried is on again. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelTimer();
    await this.#running;
  }

  #isDue({ name, index }: LinkReference): boolean {
    if (this.#judged.get(name) === index) return false;
    return (this.#retry.get(name)?.dueMs ?? 0) <= this.#parts.clock.nowMs();
  }

  async #tryAll(devices: readonly GuardedDevice[]): Promise<void> {
    for (const device of devices) {
      try {
        const verdict = await this.#judge(device);
        if (verdict === "judged") {
          this.#judged.set(device.name, device.index);
          this.#retry.delete(device.name);
        } else this.#later(device, verdict);
      } catch (error) {
        this.#parts.log.warn({ err: error, device: device.name }, "checksum offload could not be tried");
        this.#later(device, "silent");
      }
    }
  }

  /** What looked like a fault and was not seen twice is tried again soon: on a busy machine answers come late. */
  #later({ name }: LinkReference, verdict: "silent" | "unsure"): void {
    const { clock } = this.#parts;
    const backoff = this.#retry.get(name)?.backoff ?? new Backoff({ ...RETRY, random: () => clock.random() });
    if (verdict === "unsure") backoff.reset();
    const waitMs = backoff.next();
    this.#retry.set(name, { backoff, dueMs: clock.nowMs() + waitMs });
    this.#cancelTimer();
    if (!this.#isStopped) this.#cancelTimer = clock.setTimer(waitMs, () => this.#run());
  }

  async #judge(device: GuardedDevice): Promise<Verdict> {
    const { offload, metrics, log, onBroken } = this.#parts;
    const { name } = device;
    const isOn = await offload.isOn(device);
    metrics.checksumOffload.set({ device: name }, isOn ? 1 : 0);
    if (!isOn || (await this.#isAnswered(device))) return "judged";
    // Peers may not know this node yet: nothing is changed for a first silence.
    if (!this.#retry.has(name)) return "silent";
    let isBroken = false;
    let isSuspect = false;
    try {
      isSuspect = await this.#answersOnlyWithout(device);
      const found = isSuspect && (await this.#answersOnlyWithout(device));
      // Who is told to stop asks nobody any more: that is no silence.
      isBroken = found && !this.#isStopped;
    } finally {
      if (!isBroken) await offload.set(device, true);
    }
    if (!isBroken) {
      if (await this.#isAnswered(device)) return "judged";
      return isSuspect ? "unsure" : "silent";
    }
    await offload.set(device, false);
    metrics.checksumOffload.set({ device: name }, 0);
    const message =
      `the driver below ${name} sends VXLAN packets with wrong checksums: checksum offload of ${name} is switched off ` +
      `(ethtool -K ${name} tx-checksum-ip-generic off); a newer driver or firmware of the network card may mend it`;
    log.warn({ device: name }, message);
    onBroken(message);
    return "judged";
  }

  /** Peers that answer without the offload, and do not with it. */
  async #answersOnlyWithout(device: GuardedDevice): Promise<boolean> {
    const { offload } = this.#parts;
    await offload.set(device, false);
    if (!(await this.#isAnswered(device))) return false;
    await offload.set(device, true);
    return !(await this.#isAnswered(device));
  }

  async #isAnswered({ local, peers }: GuardedDevice): Promise<boolean> {
    for (const peer of this.#someOf(peers)) {
      if (this.#isStopped) return false;
      if (await this.#parts.probe(local, peer)) return true;
      this.#parts.log.debug({ peer: formatAddress(peer) }, "no answer to the checksum probe");
    }
    return false;
  }

  #someOf(peers: readonly Address[]): readonly Address[] {
    const { clock } = this.#parts;
    const start = Math.floor(clock.random() * peers.length);
    return [...peers.slice(start), ...peers.slice(0, start)].slice(0, ASKED);
  }
}
