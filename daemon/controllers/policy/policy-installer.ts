/** Installs the policies of pods that are being attached, for the server of the plugins' socket. */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { Address } from "../../../pkg/ip/address.ts";
import type { PolicyMap } from "../../../pkg/policy/policy-map.ts";
import type { PolicySource } from "../../sources/policy-source.ts";
import type { AttachedPod, PodInstaller } from "./pod-installer.ts";
import type { PolicyFeed } from "./policy-feed.ts";

/**
 * How long the attachments of pods that no policy concerned are kept, for a first policy that appears before the pods'
 * statuses have their addresses. kubelet reports an address within seconds.
 */
const RECENT_MS = 5 * 60_000;

export interface PolicyInstallerParts {
  readonly source: Pick<PolicySource, "getPod">;
  readonly feed: Pick<PolicyFeed, "uidOf" | "readAhead">;
  /** True if policies can be programmed: everything is listed, and the mode is decided. */
  readonly isReady: () => boolean;
  readonly map: Pick<PolicyMap, "hasPod" | "hasPolicies" | "attach">;
  readonly clock: Pick<Clock, "nowMs">;
  /** Programs all pending changes. True if policies concern a pod with one of these addresses. */
  readonly program: (addresses: readonly Address[]) => Promise<boolean>;
}

interface Waiter {
  readonly isDone: () => boolean;
  readonly resolve: () => void;
}

export class PolicyInstaller implements PodInstaller {
  readonly #parts: PolicyInstallerParts;
  readonly #waiters = new Set<Waiter>();
  #recent: { readonly pod: AttachedPod; readonly sinceMs: number }[] = [];

  constructor(parts: PolicyInstallerParts) {
    this.#parts = parts;
  }

  knows(pod: AttachedPod): boolean {
    const { isReady, map } = this.#parts;
    if (!isReady()) return false;
    return !map.hasPolicies || map.hasPod(pod.key, this.#uidOf(pod));
  }

  awaitPod(pod: AttachedPod, signal: AbortSignal): Promise<void> {
    return this.#until(() => this.knows(pod), signal);
  }

  async readPod(pod: AttachedPod, signal: AbortSignal): Promise<void> {
    const { source, feed, map } = this.#parts;
    const { key } = pod;
    const found = await source.getPod(key, signal);
    if (found === undefined) throw new Error(`the API server has no pod ${key}`);
    feed.readAhead(key, found);
    if (map.hasPod(key, this.#uidOf(pod))) return;
    throw new Error(`the API server has another pod ${key}, with UID ${found.uid}`);
  }

  async install(pod: AttachedPod): Promise<{ readonly isIsolated: boolean }> {
    const { isReady, map, program } = this.#parts;
    await this.#until(isReady);
    if (!map.hasPolicies) {
      this.#remember(pod);
      return { isIsolated: false };
    }
    map.attach(pod.key, this.#uidOf(pod), pod.addresses);
    return { isIsolated: await program(pod.addresses) };
  }

  /** Returns and forgets the pods that were attached lately, while the cluster had no policies. */
  takeRecent(): readonly AttachedPod[] {
    const recent = this.#recent.map(({ pod }) => pod);
    this.#recent = [];
    return recent;
  }

  /** Must be called after each change of `isReady` and of what the map knows. */
  changed(): void {
    for (const waiter of this.#waiters) if (waiter.isDone()) waiter.resolve();
  }

  /** A runtime that passes no UID means the pod that has the name now. */
  #uidOf({ key, uid }: AttachedPod): string {
    return uid === "" ? (this.#parts.feed.uidOf(key) ?? "") : uid;
  }

  #until(isDone: () => boolean, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason);
      if (isDone()) return resolve();
      const end = (act: () => void) => () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", abort);
        act();
      };
      const abort = end(() => reject(signal?.reason));
      const waiter: Waiter = { isDone, resolve: end(resolve) };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", abort);
    });
  }

  #remember(pod: AttachedPod): void {
    const nowMs = this.#parts.clock.nowMs();
    const isRecent = ({ sinceMs }: { readonly sinceMs: number }) => nowMs - sinceMs < RECENT_MS;
    this.#recent = [...this.#recent.filter(isRecent), { pod, sinceMs: nowMs }];
  }
}
