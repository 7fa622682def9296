/**
 * Decides which process programs Services: the one that listens at kube-proxy's health port (10256). kube-proxy listens
 * there while it runs, and weftd from the moment it gets the port. A port has one listener, so the two never program at
 * the same time. A kube-proxy that starts while weftd has the port runs without it; `proxy-leftovers` detects that.
 */
import net from "node:net";
import { PROXY_HEALTH_PORT } from "../../../pkg/footprint.ts";
import { type Answering, type HttpServer, listenText, serveHttp } from "../../core/http-server.ts";
import type { ListenAddress } from "../../flag.ts";

/** A process that listens on this node answers at once. */
const CONNECT_LIMIT_MS = 1000;

export interface TurnOptions {
  /** Undefined means that no health port is served, and kube-proxy is detected at its default port. */
  readonly listen: ListenAddress | undefined;
  readonly answering: Answering;
  readonly serve?: typeof serveHttp;
  /** True if a process accepts connections at this port of 127.0.0.1. */
  readonly isTaken?: (port: number) => Promise<boolean>;
}

/** Why another process serves Services, for an operator; undefined if weftd serves them. */
export type TurnAnswer = string | undefined;

export class Turn {
  readonly #options: TurnOptions;
  #isOurs = false;
  #server: HttpServer | undefined;
  #reason: TurnAnswer;

  constructor(options: TurnOptions) {
    this.#options = options;
  }

  /** The result of the last `take`. */
  get reason(): TurnAnswer {
    return this.#reason;
  }

  get isOurs(): boolean {
    return this.#isOurs;
  }

  /**
   * Makes weftd the server of Services unless another process is; weftd stays it once it is. Rejects if weftd serves
   * Services but the health address cannot be served for a reason other than being in use; the next call then retries
   * the address.
   */
  async take(): Promise<TurnAnswer> {
    this.#reason = await this.#try();
    return this.#reason;
  }

  async #try(): Promise<TurnAnswer> {
    const { listen, answering, serve = serveHttp, isTaken = acceptsConnections } = this.#options;
    if (this.#isOurs && (this.#server !== undefined || listen === undefined)) return undefined;
    const port = listen?.port ?? PROXY_HEALTH_PORT;
    // Also needed if our address differs from kube-proxy's.
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
