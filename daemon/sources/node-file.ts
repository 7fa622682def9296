/** Nodes and Services from a watched file: a `NodeSource` and a `ServiceSource` for hosts without Kubernetes. */
import type { NetConf } from "../../pkg/backend/net-conf.ts";
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { NodeSource, SourceListener } from "../../pkg/cluster/node/source.ts";
import type { EndpointSlice } from "../../pkg/cluster/service/endpoint-slice.ts";
import type { Service } from "../../pkg/cluster/service/service.ts";
import type { ServiceCIDR } from "../../pkg/cluster/service/service-cidr.ts";
import { readRegularFile } from "../core/regular-file.ts";
import { WatchedFile } from "../core/watched-file.ts";
import { HeldObjects, type HeldObjectsOptions } from "./held-objects.ts";
import { parseNodeFile } from "./node-file-format.ts";
import type { FileServices } from "./service-file-format.ts";
import type { ServiceSource } from "./service-source.ts";

export interface NodeFileOptions {
  readonly path: string;
  readonly clock: Clock;
  /** Returns this node's current network configuration. */
  readonly netConf: () => Pick<NetConf, "backend" | "others">;
  /** A listener for Services threw. Must not throw. */
  readonly onListenerFailure?: HeldObjectsOptions["onFailure"];
}

/** The file's Services. `start` does nothing, because the source of nodes reads the file. */
class FileServiceSource implements ServiceSource {
  readonly services: HeldObjects<Service>;
  readonly slices: HeldObjects<EndpointSlice>;
  readonly cidrs: HeldObjects<ServiceCIDR>;

  constructor(options: HeldObjectsOptions) {
    this.services = new HeldObjects(options);
    this.slices = new HeldObjects(options);
    this.cidrs = new HeldObjects(options);
  }

  start(): void {}

  async stop(): Promise<void> {
    for (const held of [this.services, this.slices, this.cidrs]) held.close();
  }

  /** Endpoints first, so that a new Service has its endpoints. */
  replace({ services, slices, cidrs }: FileServices): void {
    this.cidrs.replace(cidrs);
    this.slices.replace(slices);
    this.services.replace(services);
  }

  stale(reason: string): void {
    for (const held of [this.services, this.slices, this.cidrs]) held.stale(reason, RETRY_MS);
  }
}

/** An invalid or unreadable file is read again after this time, because its change may not be announced. */
const RETRY_MS = 5000;

export class NodeFileSource implements NodeSource {
  readonly #options: NodeFileOptions;
  readonly #services: FileServiceSource;
  #listener: SourceListener = () => undefined;
  #watched: WatchedFile | undefined;
  #cancelRetry: () => void = () => undefined;
  /** The input of the last `sync` event, for comparison. */
  #told: string | undefined;
  #file: FileServices | undefined;
  #goodMs: number;
  #isStopped = false;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: NodeFileOptions) {
    this.#options = options;
    const { clock, onListenerFailure = () => undefined } = options;
    this.#services = new FileServiceSource({ clock, onFailure: onListenerFailure });
    this.#goodMs = options.clock.nowMs();
  }

  /** The file's Services, available after this source is started. */
  get services(): ServiceSource {
    return this.#services;
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

  /** Reads the file. An invalid file changes nothing: the nodes of the last valid one stay. */
  async #read(): Promise<void> {
    const { path, clock, netConf } = this.#options;
    if (this.#isStopped) return;
    this.#cancelRetry();
    try {
      const text = await readRegularFile(path);
      if (this.#isStopped) return;
      const conf = netConf();
      const told = JSON.stringify([conf.backend, ...conf.others.values(), text]);
      if (told !== this.#told) {
        const file = parseNodeFile(text, conf);
        this.#listener({ type: "sync", nodes: file.nodes });
        this.#file = file;
      }
      if (this.#file !== undefined) this.#services.replace(this.#file);
      this.#told = told;
      this.#goodMs = clock.nowMs();
      this.#listener({ type: "connected" });
    } catch (error) {
      if (this.#isStopped) return;
      const reason = `nodes file ${path}: ${error instanceof Error ? error.message : String(error)}`;
      this.#services.stale(reason);
      this.#listener({ type: "stale", silentMs: clock.nowMs() - this.#goodMs, reason, retryMs: RETRY_MS });
      this.#cancelRetry = clock.setTimer(RETRY_MS, () => this.#look());
    }
  }
}
