/**
 * Which API server is asked: a list in the order of preference, used as a ring. A server that cannot be reached, or does not
 * serve, is left for the next one. The preferred server is asked again only after all others have failed.
 */

/**
 * - `configured`: a kubeconfig, --apiserver or the environment names it.
 * - `known`: it was an endpoint of the Service default/kubernetes when this node last looked.
 * - `service`: the ClusterIP of that Service, which needs rules in this node's kernel.
 */
export type ServerOrigin = "configured" | "known" | "service";

export interface Server {
  /** Scheme, address and port, and a path where there is one; without a slash at the end. */
  readonly url: string;
  readonly origin: ServerOrigin;
  /** The name that the server's certificate must be for. Default: what the kubeconfig says, else the URL's host. */
  readonly tlsName?: string;
}

/** As it is written, without a slash at its end. Throws where it is no URL. */
export function serverUrl(text: string): string {
  const { origin, pathname } = new URL(text);
  return origin + pathname.replace(/\/$/, "");
}

/** How long a server may take to accept a connection, TLS included, while there are others to ask. */
export const CONNECT_MS = 2000;

/** The limit grows where no server keeps it: all of them may be far away, or this node busy. */
const MOST_CONNECT_MS = 30_000;

export class ServerRing {
  readonly #onUse: (server: Server) => void;
  #servers: readonly Server[] = [];
  #current: Server | undefined;
  #used: string | undefined;
  /** Consecutive failures, without an answer from any server. */
  #failures = 0;

  /** `onUse` is called when another server than before has answered. Must not throw. */
  constructor(onUse: (server: Server) => void = () => undefined) {
    this.#onUse = onUse;
  }

  /** The server to ask. `servers` are those of now, in the order of preference; at least one. */
  pick(servers: readonly Server[]): Server {
    this.#servers = servers;
    const [first] = servers;
    if (first === undefined) throw new RangeError("no API server to ask");
    this.#current = servers.find(({ url }) => url === this.#current?.url) ?? first;
    return this.#current;
  }

  /** The one that is asked next; undefined before the first `pick`. */
  get current(): Server | undefined {
    return this.#current;
  }

  /** The next one is asked from now on. Of several requests that fail at the same server, the first one counts. */
  failed(server: Server): void {
    if (server.url !== this.#current?.url) return;
    const at = this.#servers.findIndex(({ url }) => url === server.url);
    this.#current = this.#servers[(at + 1) % this.#servers.length];
    this.#failures++;
  }

  answered(server: Server): void {
    this.#failures = 0;
    if (server.url === this.#used) return;
    this.#used = server.url;
    this.#onUse(server);
  }

  /** Undefined with a single server, where giving up gains nothing. Doubles each time all servers have failed. */
  get connectLimitMs(): number | undefined {
    const { length } = this.#servers;
    if (length < 2) return undefined;
    return Math.min(CONNECT_MS * 2 ** Math.floor(this.#failures / length), MOST_CONNECT_MS);
  }
}
