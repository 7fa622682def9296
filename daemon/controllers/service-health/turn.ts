/**
 * Whose turn it is to program Services: it belongs to the process that listens at kube-proxy's health port (10256). kube-proxy
 * listens there while it runs, and weftd from the moment it has the port. A port has one listener, so the two never take turns
 * at the same moment. A kube-proxy that starts while weftd has the port goes on without it: `proxy-leftovers` notices that.
 */
import net from "node:net";
import { PROXY_HEALTH_PORT } from "../../../pkg/footprint.ts";
import { type Answering, type HttpServer, listenText, serveHttp } from "../../core/http-server.ts";
import type { ListenAddress } from "../../flag.ts";

/** A process that listens on this node answers at once. */
const CONNECT_LIMIT_MS = 1000;

export interface TurnOptions {
  /** Undefined: nothing is served, and whether kube-proxy runs is asked at its default port. */
  readonly listen: ListenAddress | undefined;
  readonly answering: Answering;
  readonly serve?: typeof serveHttp;
  /** True when a process accepts connections at this port of 127.0.0.1. */
  readonly isTaken?: (port: number) => Promise<boolean>;
}

/** Why the turn is another process's, for an operator; undefined: it is ours. */
export type TurnAnswer = string | undefined;

export class Turn {
  readonly #options: TurnOptions;
  #isOurs = false;
  #server: HttpServer | undefined;
  #reason: TurnAnswer;

  constructor(options: TurnOptions) {
    this.#options = options;
  }

  /** What the last `take` said. */
  get reason(): TurnAnswer {
    return this.#reason;
  }

  get isOurs(): boolean {
    return this.#isOurs;
  }

  /**
   * Takes the turn where no other process has it; ours stays ours. Rejects where the turn is ours and the health address cannot be
   * served for another reason than that it is in use: then the next call tries that again.
   */
  async take(): Promise<TurnAnswer> {
    this.#reason = await this.#try();
    return this.#reason;
  }

  async #try(): Promise<TurnAnswer> {
    const { listen, answering, serve = serveHttp, isTaken = acceptsConnections } = this.#options;
    if (this.#isOurs && (this.#server !== undefined || listen === undefined)) return undefined;
    const port = listen?.port ?? PROXY_HEALTH_PORT;
    // Also where the address that we listen at is another one than kube-proxy's.
    if (!this.#isOurs && (await isTaken(port))) return `127.0.0.1:${port} is answered by another process`;
    if (listen === undefined) {
      this.#isOurs = true;
      return undefined;
    }
    try {
      this.#server = await serve(listen, answering);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === "EADDRINUSE") return `${listenText(listen)} is in use by another process`;
      this.#isOurs = true;
      const what = `serve Services' health at ${listenText(listen)}: ${message}; choose another --healthz-bind-address`;
      throw new Error(what, { cause: error });
    }
    this.#isOurs = true;
    return undefined;
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }
}

function acceptsConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: "127.0.0.1", port });
    const end = (isTaken: boolean) => {
      socket.destroy();
      resolve(isTaken);
    };
    socket.setTimeout(CONNECT_LIMIT_MS, () => end(true));
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
  });
}
