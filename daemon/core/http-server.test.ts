/** Tests the server's limits on real sockets. */
import net from "node:net";
import { afterEach, expect, test, vi } from "vitest";
import { type HttpServer, serveHttp } from "./http-server.ts";

let server: HttpServer | undefined;
const sockets: net.Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server?.close();
});

const OK = () => ({ status: 200, body: "ok\n" });

/** Connects and sends `text`. Resolves with all data received until the server closes the connection. */
function converse(host: string, text: string): Promise<string> {
  const socket = net.connect({ host, port: server?.port ?? 0 });
  sockets.push(socket);
  socket.on("error", () => undefined);
  socket.write(text);
  let received = "";
  socket.on("data", (bytes) => {
    received += bytes;
  });
  return new Promise((resolve) => socket.once("close", () => resolve(received)));
}

test("a server that listens on all addresses answers over both families", async () => {
  server = await serveHttp({ host: undefined, port: 0 }, OK);
  for (const host of ["127.0.0.1", "::1"])
    expect(await converse(host, "GET / HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1.1 200 OK/);
});

test("the server closes the connection of a client that does not finish its request", async () => {
  server = await serveHttp({ host: "127.0.0.1", port: 0 }, OK, { requestLimitMs: 50, checkMs: 10 });
  expect(await converse("127.0.0.1", "GET / HTTP/1.1\r\n")).toMatch(/^HTTP\/1.1 408 /);
  expect(await converse("127.0.0.1", "")).not.toContain("200 OK");
});

test("the server closes connections beyond the limit", async () => {
  server = await serveHttp({ host: "127.0.0.1", port: 0 }, OK, { mostConnections: 1 });
  const ask = () => converse("127.0.0.1", "GET / HTTP/1.0\r\n\r\n");
  void converse("127.0.0.1", "GET / HTTP/1.1\r\n");
  expect(await ask()).toBe("");
  sockets[0]?.destroy();
  await vi.waitFor(async () => expect(await ask()).toMatch(/200 OK/), { timeout: 30_000 });
});
