/**
 * Connections that report how they were translated: each server reports the address it was reached at and the client
 * address it saw. For tests of NAT. Runs inside an agent.
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Transport } from "./agent.ts";

export interface Listening {
  /**
   * "::" means all addresses of both families. With it, UDP answers may come from an address other than the requested
   * one.
   */
  readonly address: string;
  readonly port: number;
  readonly transport: Transport;
}

export interface Probe {
  /** An address of this namespace. */
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly transport: Transport;
  /** The number of simultaneous connections. */
  readonly times: number;
  readonly timeoutMs: number;
}

/** Addresses with ports have the form "a.b.c.d:port" or "[a:b::c]:port". */
export interface ProbeAnswer {
  /** The name of the server's namespace. */
  readonly host: string;
  /** The address at which the server was reached. */
  readonly at: string;
  /** The client's address as the server saw it. */
  readonly seen: string;
  /** The client's address as the client sees it. */
  readonly client: string;
}

/** `failure` is "silence", or the code of the socket's error. */
export type ProbeResult = ProbeAnswer | { readonly failure: string };

export function socketAddress(address: string | undefined, port: number | undefined): string {
  const plain = (address ?? "").replace(/^::ffff:/, "");
  return plain.includes(":") ? `[${plain}]:${port}` : `${plain}:${port}`;
}

let listening: (Server | UdpSocket)[] = [];
const open = new Set<Socket>();

/** Starts servers for `list`, in place of the servers of the previous call. */
export async function serve(host: string, list: readonly Listening[]): Promise<true> {
  // The addresses may be gone already; a graceful close would wait for answers.
  for (const socket of open) socket.destroy();
  await Promise.all(listening.map((one) => new Promise<void>((resolve) => void one.close(() => resolve()))));
  listening = [];
  await Promise.all(list.map((one) => (one.transport === "tcp" ? serveTcp(host, one) : serveUdp(host, one))));
  return true;
}

function serveTcp(host: string, { address, port }: Listening): Promise<void> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      open.add(socket);
      socket.on("error", () => socket.destroy()).on("close", () => open.delete(socket));
      const at = socketAddress(socket.localAddress, socket.localPort);
      socket.end(JSON.stringify({ host, at, seen: socketAddress(socket.remoteAddress, socket.remotePort) }));
    });
    server.once("error", reject).listen({ port, host: address, backlog: 512 }, resolve);
    listening.push(server);
  });
}

function serveUdp(host: string, { address, port }: Listening): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    const at = socketAddress(address, port);
    socket.on("message", (_, from) => {
      socket.send(JSON.stringify({ host, at, seen: socketAddress(from.address, from.port) }), from.port, from.address);
    });
    socket.once("error", reject).bind({ port, address, exclusive: true }, resolve);
    listening.push(socket);
  });
}

export function probe(request: Probe): Promise<ProbeResult[]> {
  const one = request.transport === "tcp" ? probeTcp : probeUdp;
  return Promise.all(Array.from({ length: request.times }, () => one(request)));
}

const failureOf = (error: NodeJS.ErrnoException) => ({ failure: error.code ?? error.message });

function probeTcp({ from, to, port, timeoutMs }: Probe): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ host: to, port, localAddress: from });
    let [text, client] = ["", ""];
    socket.setTimeout(timeoutMs, () => {
      resolve({ failure: "silence" });
      socket.destroy();
    });
    socket.on("connect", () => {
      client = socketAddress(socket.localAddress, socket.localPort);
    });
    socket.on("data", (data) => {
      text += data;
    });
    socket.on("error", (error) => resolve(failureOf(error)));
    socket.on("close", (hadError) => hadError || text === "" || resolve({ ...JSON.parse(text), client }));
  });
}

function probeUdp({ from, to, port, timeoutMs }: Probe): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = createSocket(to.includes(":") ? "udp6" : "udp4");
    const end = (result: ProbeResult) => {
      clearTimeout(timer);
      socket.removeAllListeners("message").close();
      resolve(result);
    };
    let refusal = "silence";
    const timer = setTimeout(() => end({ failure: refusal }), timeoutMs);
    socket.once("error", (error) => end(failureOf(error)));
    // A connected socket accepts answers only from that address, and gets the errors of refused packets.
    socket.bind({ address: from }, () => {
      socket.connect(port, to, () => {
        const { address, port: own } = socket.address();
        socket.once("message", (data) => end({ ...JSON.parse(String(data)), client: socketAddress(address, own) }));
        // If this host's own rules reject the packet, sending fails. An ICMP message, if any, arrives later.
        socket.send("?", (error) => {
          if (error !== null) refusal = failureOf(error).failure;
        });
      });
    });
  });
}
