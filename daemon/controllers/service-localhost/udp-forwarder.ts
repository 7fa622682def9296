/**
 * Forwards datagrams to ::1 through a separate socket for each client, so that the kernel chooses endpoints per client,
 * and answers can be attributed to their clients.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { formatAddress, isSameAddress } from "../../../pkg/ip/address.ts";
import { type Forwarder, type ForwarderOptions, LOCALHOST } from "./forwarder.ts";

/** The time for which conntrack keeps a UDP flow with replies (nf_conntrack_udp_timeout_stream). */
export const IDLE_MS = 120_000;

/** The interval of checks for idle clients. */
const SWEEP_MS = IDLE_MS / 4;

/** The number of a client's datagrams that are kept while its socket is being opened. */
const WAITING = 16;

interface Session {
  readonly socket: Socket;
  /** Undefined once the socket is connected. */
  waiting: Buffer[] | undefined;
  heardMs: number;
}

export function openUdpForwarder(options: ForwarderOptions): Promise<Forwarder> {
  return new Promise((resolve, reject) => {
    const server = createSocket({ type: "udp6", ipv6Only: true });
    server.once("error", reject);
    server.bind({ address: LOCALHOST, port: options.port, exclusive: true }, () => {
      server.off("error", reject);
      resolve(new UdpForwarder(server, options));
    });
  });
}

class UdpForwarder implements Forwarder {
  readonly #server: Socket;
  readonly #options: ForwarderOptions;
  #to: ForwarderOptions["to"];
  /** By the client's address and port, in the order of their last datagrams. */
  readonly #sessions = new Map<string, Session>();
  readonly #sweep: NodeJS.Timeout;

  constructor(server: Socket, options: ForwarderOptions) {
    this.#server = server;
    this.#options = options;
    this.#to = options.to;
    this.#sweep = setInterval(() => this.#endIdle(), SWEEP_MS).unref();
    server.on("message", (datagram, client) => this.#received(datagram, client));
    server.on("error", (error) => {
      this.close().then(() => options.onBroken(error), options.onBroken);
    });
  }

  redirect(to: ForwarderOptions["to"]): void {
    if (to.port === this.#to.port && isSameAddress(to.address, this.#to.address)) return;
    this.#to = to;
    // End all sessions: a client that keeps sending would otherwise reach the old endpoint, which may serve no Service
    // any more, and UDP silence does not show that.
    for (const key of this.#sessions.keys()) this.#end(key);
  }

  close(): Promise<void> {
    clearInterval(this.#sweep);
    for (const key of this.#sessions.keys()) this.#end(key);
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #received(datagram: Buffer, client: RemoteInfo): void {
    const key = `${client.address} ${client.port}`;
    const session = this.#sessions.get(key) ?? this.#begin(key, client);
    if (session === undefined) return;
    this.#heard(key, session);
    if (session.waiting === undefined) session.socket.send(datagram, ignore);
    else if (session.waiting.length < WAITING) session.waiting.push(datagram);
  }

  #begin(key: string, client: RemoteInfo): Session | undefined {
    // A new client replaces the one that has been silent longest.
    if (!this.#options.quota.take()) {
      const [silent] = this.#sessions.keys();
      if (silent === undefined) return undefined;
      this.#end(silent);
      this.#options.quota.take();
    }
    const socket = createSocket("udp6");
    const session: Session = { socket, waiting: [], heardMs: performance.now() };
    this.#sessions.set(key, session);
    socket.on("message", (answer) => {
      this.#heard(key, session);
      this.#server.send(answer, client.port, client.address, ignore);
    });
    // The endpoint refused or was unreachable. The client's next datagram begins a new session, possibly with another
    // endpoint.
    socket.on("error", () => this.#end(key, session));
    socket.once("connect", () => {
      for (const datagram of session.waiting ?? []) socket.send(datagram, ignore);
      session.waiting = undefined;
    });
    // Without a callback, because that would receive the error instead of the listener above.
    socket.connect(this.#to.port, formatAddress(this.#to.address));
    return session;
  }

  #heard(key: string, session: Session): void {
    if (this.#sessions.get(key) !== session) return;
    session.heardMs = performance.now();
    this.#sessions.delete(key);
    this.#sessions.set(key, session);
  }

  /** Ends the session of this client. If `only` is given, ends it only if it is that session. */
  #end(key: string, only?: Session): void {
    const session = this.#sessions.get(key);
    if (session === undefined || (only !== undefined && only !== session)) return;
    this.#sessions.delete(key);
    this.#options.quota.release();
    session.socket.removeAllListeners("error").on("error", ignore);
    session.socket.close();
  }

  #endIdle(): void {
    const sinceMs = performance.now() - IDLE_MS;
    for (const [key, { heardMs }] of this.#sessions) if (heardMs <= sinceMs) this.#end(key);
  }
}

const ignore = () => undefined;
