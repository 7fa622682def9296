/**
 * Keeps checksum offload of the VXLAN devices on unless the hardware breaks it. Some drivers send encapsulated packets
 * with checksums that are not filled in, and all packets but ICMP are lost.
 *
 * The proof is a datagram to a closed port of a peer's VTEP. Peers, both weft's and flannel's, send "port unreachable"
 * only for a datagram with a correct checksum. The offload is switched off only if peers answer without it and not with
 * it, twice in a row.
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
  /** True if `peer` answered a datagram from `local`; false if it did not. */
  readonly probe: (local: Address, peer: Address) => Promise<boolean>;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, "checksumOffload">;
  readonly log: Logger;
  /** Called when the offload was switched off, with a message for an operator. */
  readonly onBroken: (message: string) => void;
}

/** The number of peers to probe. A peer that is down, or that never answers, proves nothing. */
const ASKED = 3;
const RETRY = { initialMs: 10_000, maxMs: 3_600_000 };

/** `silent`: no peer answered either way, which proves nothing. `unsure`: peers answered without the offload, once. */
type Verdict = "judged" | "silent" | "unsure";

export class ChecksumGuard {
  readonly #parts: ChecksumGuardParts;
  /** The interface index of each device that was judged or is being tested, by the device's name. */
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

  /** Tests devices that were not judged yet, in the background. Called after each pass. */
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

  /** Resolves when no test is running. */
  settled(): Promise<void> {
    return this.#running;
  }

  /** Sends no further probes. Resolves when no test is running and the offload of a device under test is on again. */
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
        this.#parts.log.warn({ err: error, device: device.name }, "cannot test checksum offload");
        this.#later(device, "silent");
      }
    }
  }

  /**
   * Schedules a retry. A fault that was not confirmed by the second test is retried soon, because answers may be late
   * on a busy machine.
   */
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
    // Peers may not know this node yet, so nothing changes after a first silence.
    if (!this.#retry.has(name)) return "silent";
    let isBroken = false;
    let isSuspect = false;
    try {
      isSuspect = await this.#answersOnlyWithout(device);
      const found = isSuspect && (await this.#answersOnlyWithout(device));
      // A stopped probe is not a missing reply.
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
      `the driver below ${name} sends VXLAN packets with wrong checksums: weftd has switched checksum offload of ${name} off ` +
      `(ethtool -K ${name} tx-checksum-ip-generic off); a newer driver or firmware of the network card may fix it`;
    log.warn({ device: name }, message);
    onBroken(message);
    return "judged";
  }

  /** True if peers answer without the offload and not with it. */
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
