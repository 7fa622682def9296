/** Tests forwarders on sockets of ::1. */
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { afterEach, describe, expect, test } from "vitest";
import { parseAddress } from "../../../pkg/ip/address.ts";
import type { Forwarder, OpenForwarder } from "./forwarder.ts";
import { Quota } from "./quota.ts";
import { openTcpForwarder } from "./tcp-forwarder.ts";
import { openUdpForwarder } from "./udp-forwarder.ts";

const HOST = "::1";
const hasIpv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === HOST),
);
if (!hasIpv6) process.stderr.write("forwarders of ::1 are not tested: this machine has no ::1\n");

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const port = portOf(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}
const portOf = (server: Server | UdpSocket) => (server.address() as { port: number }).port;

async function forward(open: OpenForwarder, to: number, quota = new Quota(10)) {
  const port = await freePort();
  const target = (other: number) => ({ address: parseAddress(HOST), port: other });
  const forwarder = await open({ port, to: target(to), quota, onBroken: () => undefined });
  let isClosed = false;
  const close = async () => {
    if (!isClosed) await forwarder.close();
    isClosed = true;
  };
  closers.push(close);
  return { port, close, quota, redirect: (other: number) => (forwarder as Forwarder).redirect(target(other)) };
}

describe.runIf(hasIpv6)("TCP", () => {
  /** Answers with `word` and the received length after the client has ended its side. */
  async function serve(word: string): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let text = "";
      socket.on("error", () => undefined);
      socket.on("data", (data) => {
        text += data;
      });
      socket.on("end", () => socket.end(`${word} ${text.length}`));
    }).listen(0, HOST);
    await once(server, "listening");
    closers.push(() => server.close());
    return portOf(server);
  }

  const open = async (port: number): Promise<Socket> => {
    const socket = connect({ host: HOST, port, allowHalfOpen: true }).on("error", () => undefined);
    await once(socket, "connect");
    return socket;
  };
  /** "reset" if the connection was reset. */
  const ask = async (socket: Socket, text: string): Promise<string> => {
    let answer = "";
    socket.on("data", (data) => {
      answer += data;
    });
    const ended = Promise.race([
      once(socket, "end").then(() => answer),
      once(socket, "error").then(
        () => "reset",
        () => "reset",
      ),
    ]);
    socket.end(text);
    return ended;
  };

  test("each direction ends independently, and a megabyte arrives completely", async () => {
    const { port, quota } = await forward(openTcpForwarder, await serve("a"));
    expect(await ask(await open(port), "x".repeat(1 << 20))).toBe(`a ${1 << 20}`);
    await expect.poll(() => quota.used).toBe(0);
  });

  test("new connections follow the Service; existing ones stay", async () => {
    const [a, b] = [await serve("a"), await serve("b")];
    const { port, redirect } = await forward(openTcpForwarder, a);
    const present = await open(port);
    await new Promise((resolve) => present.write("1", resolve));
    redirect(b);
    expect(await ask(await open(port), "22")).toBe("b 2");
    expect(await ask(present, "2")).toBe("a 2");
  });

  test("connections beyond the limit are reset until one ends", async () => {
    const { port, quota } = await forward(openTcpForwarder, await serve("a"), new Quota(1));
    const first = await open(port);
    await expect.poll(() => quota.used).toBe(1);
    const second = connect({ host: HOST, port });
    expect(await once(second, "error").then(([error]) => error.code)).toBe("ECONNRESET");
    expect(await ask(first, "1")).toBe("a 1");
    await expect.poll(() => quota.used).toBe(0);
    expect(await ask(await open(port), "1")).toBe("a 1");
  });

  test("the client is reset if the endpoint refuses", async () => {
    const { port, quota } = await forward(openTcpForwarder, await freePort());
    const socket = connect({ host: HOST, port });
    expect(await once(socket, "error").then(([error]) => error.code)).toBe("ECONNRESET");
    await expect.poll(() => quota.used).toBe(0);
  });

  test("close resets open connections and frees the port", async () => {
    const to = await serve("a");
    const { port, close, quota } = await forward(openTcpForwarder, to);
    const socket = await open(port);
    await expect.poll(() => quota.used).toBe(1);
    await close();
    await expect.poll(() => socket.destroyed).toBe(true);
    const other = await openTcpForwarder({
      ...{ port, to: { address: parseAddress(HOST), port: to }, quota },
      onBroken: () => undefined,
    });
    await other.close();
  });

  test("rejects a port in use", async () => {
    const { port, quota } = await forward(openTcpForwarder, await serve("a"));
    const to = { address: parseAddress(HOST), port: 1 };
    await expect(openTcpForwarder({ port, to, quota, onBroken: () => undefined })).rejects.toThrow(/EADDRINUSE/);
  });
});

describe.runIf(hasIpv6)("UDP", () => {
  async function serve(word: string): Promise<number> {
    const server = createSocket("udp6");
    server.on("message", (data, { port, address }) => server.send(`${word} ${data}`, port, address));
    server.bind(0, HOST);
    await once(server, "listening");
    closers.push(() => server.close());
    return portOf(server);
  }
  const client = async (port: number) => {
    const socket = createSocket("udp6").on("error", () => undefined);
    socket.connect(port, HOST);
    await once(socket, "connect");
    closers.push(() => socket.close());
    return async (text: string) => {
      const answer = once(socket, "message");
      socket.send(text);
      return String((await answer)[0]);
    };
  };

  test("each client gets its own answers, from the Service's current endpoint", async () => {
    const [a, b] = [await serve("a"), await serve("b")];
    const { port, redirect, quota } = await forward(openUdpForwarder, a);
    const [one, two] = [await client(port), await client(port)];
    expect(await one("1")).toBe("a 1");
    redirect(a);
    expect(quota.used).toBe(1);
    redirect(b);
    expect([await two("2"), await one("3")]).toEqual(["b 2", "b 3"]);
    expect(quota.used).toBe(2);
  });

  test("beyond the limit the longest-silent client is ended", async () => {
    const { port, quota } = await forward(openUdpForwarder, await serve("a"), new Quota(2));
    const clients = [await client(port), await client(port), await client(port)];
    for (const ask of clients) expect(await ask("x")).toBe("a x");
    expect(quota.used).toBe(2);
    expect(await clients[0]?.("again")).toBe("a again");
  });

  test("a client whose endpoint refuses gets a new session", async () => {
    const to = await freePort();
    const { port, redirect, quota } = await forward(openUdpForwarder, to);
    const ask = await client(port);
    // The kernel reports the refusal with the answer or with the next datagram.
    void ask("lost");
    void ask("lost");
    await expect.poll(() => quota.used).toBe(0);
    redirect(await serve("a"));
    // One of the two lost datagrams, or this one, begins the new session.
    expect(await ask("1")).toMatch(/^a (1|lost)$/);
  });

  test("close ends all clients and frees the port; a port in use is rejected", async () => {
    const to = await serve("a");
    const { port, close, quota } = await forward(openUdpForwarder, to);
    const ask = await client(port);
    await ask("1");
    const again = { port, to: { address: parseAddress(HOST), port: to }, quota, onBroken: () => undefined };
    await expect(openUdpForwarder(again)).rejects.toThrow(/EADDRINUSE/);
    await close();
    expect(quota.used).toBe(0);
    await (await openUdpForwarder(again)).close();
  });
});
