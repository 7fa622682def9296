/** Nodes from a file that is watched: a `NodeSource` for hosts without Kubernetes. */
import type { NetConf } from "../../pkg/backend/net-conf.ts";
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { NodeSource, SourceListener } from "../../pkg/cluster/node/source.ts";
import { readRegularFile } from "../core/regular-file.ts";
import { WatchedFile } from "../core/watched-file.ts";
import { parseNodeFile } from "./node-file-format.ts";

export interface NodeFileOptions {
  readonly path: string;
  readonly clock: Clock;
  /** This node's network configuration, as it is now. */
  readonly netConf: () => Pick<NetConf, "backend" | "others">;
}

/** A file that was wrong, or could not be read, is looked at again: its change may not be heard of. */
const RETRY_MS = 5000;

export class NodeFileSource implements NodeSource {
  readonly #options: NodeFileOptions;
  #listener: SourceListener = () => undefined;
  #watched: WatchedFile | undefined;
  #cancelRetry: () => void = () => undefined;
  /** What the listener knows the nodes from. */
  #told: string | undefined;
  #goodMs: number;
  #isStopped = false;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: NodeFileOptions) {
    this.#options = options;
    this.#goodMs = options.clock.nowMs();
  }

  start(listener: SourceListener): void {
    const { path, clock } = this.#options;
    this.#listener = listener;
    this.#watched = new WatchedFile(path, clock, () => this.#look());
    this.#look();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#watched?.close();
    this.#cancelRetry();
    await this.#turn;
  }

  #look(): void {
    this.#turn = this.#turn.then(() => this.#read());
  }

  /** A file that is wrong changes nothing: the nodes of the last right one stay. */
  async #read(): Promise<void> {
    const { path, clock, netConf } = this.#options;
    if (this.#isStopped) return;
    this.#cancelRetry();
    try {
      const text = await readRegularFile(path);
      if (this.#isStopped) return;
      const conf = netConf();
      const told = JSON.stringify([conf.backend, ...conf.others.values(), text]);
      if (told !== this.#told) this.#listener({ type: "sync", nodes: parseNodeFile(text, conf) });
      this.#told = told;
      this.#goodMs = clock.nowMs();
      this.#listener({ type: "connected" });
    } catch (error) {
      if (this.#isStopped) return;
      const reason = `nodes file ${path}: ${error instanceof Error ? error.message : String(error)}`;
      this.#listener({ type: "stale", silentMs: clock.nowMs() - this.#goodMs, reason, retryMs: RETRY_MS });
      this.#cancelRetry = clock.setTimer(RETRY_MS, () => this.#look());
    }
  }
}
