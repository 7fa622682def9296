/**
 * weftd's side of the policy socket (pkg/attachment/policy/protocol.ts): installs a pod's isolation before its interface
 * can send. Each connection is one request. Connections do not wait for each other.
 */
import { chmod, mkdir, rename, rm, stat } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { Histogram, type Registry } from "prom-client";
import { SILENCE_LIMIT_MS } from "../../../pkg/attachment/policy/protocol.ts";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { messageOf } from "../../../pkg/cni/errors.ts";
import type { Logger } from "../../core/log.ts";
import type { FlowRemover } from "../facts.ts";
import { AttachConnection } from "./attach-connection.ts";
import type { ParsedRequest } from "./attach-request.ts";
import type { AttachedPod, PodInstaller } from "./pod-installer.ts";

/** How long a request waits for the watch to bring its pod, before the pod is read, in milliseconds. */
const WATCH_LIMIT_MS = 1000;

/** How long a request waits for an unknown pod in total, in milliseconds. */
const POD_LIMIT_MS = 2000;

/**
 * The maximum number of simultaneous connections. kubelet runs at most a few hundred pods on a node, and a runtime attaches a few at a
 * time. The plugin tries again after a refusal.
 */
const MOST_CONNECTIONS = 512;

/** From a tenth of a millisecond (a known pod) to the time limit. */
const BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5];

export interface AttachServerParts {
  /** The socket's path, in a directory that only root may change. */
  readonly path: string;
  readonly installer: PodInstaller;
  readonly flows?: FlowRemover;
  readonly clock: Clock;
  readonly log: Pick<Logger, "warn" | "debug">;
  readonly metrics?: { readonly registry: Registry };
  readonly mostConnections?: number;
}

export class AttachServer {
  readonly #parts: AttachServerParts;
  readonly #server: Server;
  readonly #connections = new Set<AttachConnection>();
  readonly #seconds: Histogram<"result"> | undefined;
  /** Identifies the socket that `start` made. */
  #made: { readonly dev: number; readonly ino: number } | undefined;

  constructor(parts: AttachServerParts) {
    this.#parts = parts;
    this.#server = createServer((socket) => this.#accept(socket));
    this.#seconds = parts.metrics && attachTimes(parts.metrics.registry);
  }

  /**
   * Listens. Replaces the socket of an earlier weftd: one process serves a run directory at a time (`claimRunDir`).
   * Rejects if the directory does not exist or is not writable.
   */
  async start(): Promise<void> {
    const { path } = this.#parts;
    // A socket gets its mode only after it accepts connections. In this directory no other user can open it, whatever the
    // umask, and a rename never leaves the path without a socket.
    const directory = `${path}.new`;
    try {
      await rm(directory, { recursive: true, force: true });
      await mkdir(directory, { mode: 0o700 });
      const made = `${directory}/s`;
      await this.#listen(made);
      await chmod(made, 0o600);
      this.#made = await stat(made);
      await rename(made, path);
    } catch (error) {
      await this.stop();
      throw new Error(`cannot serve the policy socket ${path}: ${messageOf(error)}`, { cause: error });
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  /** Closes all connections without a reply and removes the socket. */
  async stop(): Promise<void> {
    const { path } = this.#parts;
    const found = await stat(path).catch(() => undefined);
    // Not the socket of a successor.
    if (found !== undefined && found.ino === this.#made?.ino && found.dev === this.#made.dev)
      await rm(path, { force: true });
    this.#made = undefined;
    for (const connection of this.#connections) connection.close();
    if (this.#server.listening) await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #listen(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(path, () => {
        this.#server.off("error", reject);
        // For example EMFILE: the plugin gets no answer.
        this.#server.on("error", (error) =>
          this.#parts.log.warn({ err: error }, "cannot accept a connection of a plugin"),
        );
        resolve();
      });
    });
  }

  #accept(socket: Socket): void {
    const { clock, mostConnections = MOST_CONNECTIONS } = this.#parts;
    const connection = new AttachConnection(socket, clock, SILENCE_LIMIT_MS, {
      onRequest: (request) => void this.#serve(connection, request),
      onInvalid: (error) => this.#refuse(connection, undefined, error),
      onClose: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
    if (this.#connections.size <= mostConnections) return;
    this.#refuse(
      connection,
      undefined,
      new Error(`weftd serves ${mostConnections} other pods at the moment; try again`),
    );
  }

  /** Never rejects. */
  async #serve(connection: AttachConnection, request: ParsedRequest): Promise<void> {
    const { installer, flows, clock, log } = this.#parts;
    const startMs = clock.nowMs();
    const done = (result: string) => this.#seconds?.observe({ result }, (clock.nowMs() - startMs) / 1000);
    try {
      if (!installer.knows(request)) await this.#learn(connection, request);
      const { isIsolated } = await installer.install(request);
      // After the rules, so that packets to an isolated address create no entry meanwhile.
      await flows?.attached(request, isIsolated);
      connection.end({ is: "installed", isIsolated });
      done("installed");
      log.debug({ pod: request.key, addresses: request.addresses.length, isIsolated }, "installed a pod's policies");
    } catch (error) {
      done(connection.signal.aborted ? "abandoned" : "failed");
      this.#refuse(connection, request, error);
    }
  }

  /** Waits until the installer knows the pod. Rejects with the reason. */
  async #learn(connection: AttachConnection, pod: AttachedPod): Promise<void> {
    const { installer, clock } = this.#parts;
    connection.send({ is: "waiting" });
    const { signal } = connection;
    const startMs = clock.nowMs();
    const seen = await within(clock, WATCH_LIMIT_MS, signal, (until) => installer.awaitPod(pod, until));
    if (seen === "done" && installer.knows(pod)) return;
    const leftMs = startMs + POD_LIMIT_MS - clock.nowMs();
    const read = await within(clock, leftMs, signal, (until) => installer.readPod(pod, until));
    if (read === "late") throw new Error(unknown(pod, `the API server has not answered within ${POD_LIMIT_MS} ms`));
    if (read !== "done") throw new Error(unknown(pod, messageOf(read.failure)));
    if (!installer.knows(pod)) throw new Error(unknown(pod, "the API server has no such pod"));
  }

  #refuse(connection: AttachConnection, request: ParsedRequest | undefined, error: unknown): void {
    // A plugin that has ended does not wait for the reason.
    if (connection.signal.aborted) return;
    const reason = messageOf(error);
    const fields = { pod: request?.key, uid: request?.uid, containerId: request?.containerId };
    this.#parts.log.warn({ ...fields, reason }, "cannot install a pod's policies; its attachment fails");
    connection.end({ is: "failed", reason });
  }
}

function unknown({ key, uid }: AttachedPod, reason: string): string {
  return `weftd does not know the pod ${key}${uid === "" ? "" : ` with UID ${uid}`}: ${reason}; the runtime tries again`;
}

type Outcome = "done" | "late" | { readonly failure: unknown };

/** Runs `work` with a signal that aborts after `ms` or with `signal`. Rejects only if `signal` aborts. */
async function within(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  work: (until: AbortSignal) => Promise<void>,
): Promise<Outcome> {
  signal.throwIfAborted();
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  signal.addEventListener("abort", abort);
  let isLate = false;
  const cancel = clock.setTimer(ms, () => {
    isLate = true;
    controller.abort(new Error(`no result within ${ms} ms`));
  });
  // `work` may ignore its signal.
  const aborted = new Promise<never>((_, reject) => {
    controller.signal.addEventListener("abort", () => reject(controller.signal.reason));
  });
  try {
    await Promise.race([work(controller.signal), aborted]);
    return "done";
  } catch (error) {
    signal.throwIfAborted();
    return isLate ? "late" : { failure: error };
  } finally {
    cancel();
    signal.removeEventListener("abort", abort);
  }
}

export function attachTimes(registry: Registry): Histogram<"result"> {
  return new Histogram({
    name: "weft_policy_attach_seconds",
    help: "Time from a plugin's request to install a pod's policies to the reply, by result.",
    labelNames: ["result"] as const,
    buckets: BUCKETS,
    registers: [registry],
  });
}
