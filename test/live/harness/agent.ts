/**
 * Runs inside a namespace for as long as a test needs it there: starts programs and times them, serves and opens TCP
 * connections. One JSON object a line in each direction; answers carry the number of their request.
 */
import { connect, createServer } from "node:net";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { run } from "./command.ts";

export type AgentRequest =
  | {
      readonly do: "run";
      readonly file: string;
      readonly args: readonly string[];
      readonly input?: string;
      readonly env?: Record<string, string>;
    }
  /** Tells each client the address it saw it under. */
  | { readonly do: "listen"; readonly port: number }
  /** Opens a connection; the answer is what the server says. */
  | { readonly do: "connect"; readonly host: string; readonly port: number; readonly timeoutMs: number };

async function perform(request: AgentRequest): Promise<unknown> {
  switch (request.do) {
    case "run": {
      const { file, args, input = "", env } = request;
      const began = performance.now();
      const outcome = await run(file, args, { input, ...(env === undefined ? {} : { env }) });
      return { ...outcome, ms: performance.now() - began };
    }
    case "listen":
      return listen(request.port);
    case "connect":
      return talk(request.host, request.port, request.timeoutMs);
  }
}

function listen(port: number): Promise<true> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      // The echo: what the client sent, behind the address that it came from.
      socket.once("data", (data) => socket.end(`${socket.remoteAddress?.replace(/^::ffff:/, "")} ${data}`));
    });
    server.once("error", reject);
    server.listen(port, "::", () => resolve(true));
  });
}

function talk(host: string, port: number, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    let text = "";
    socket.setTimeout(timeoutMs, () =>
      socket.destroy(new Error(`no answer from ${host}:${port} within ${timeoutMs} ms`)),
    );
    socket.on("connect", () => socket.write("echo"));
    socket.on("data", (data) => {
      text += data;
    });
    socket.on("error", reject);
    socket.on("end", () => resolve(text));
  });
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { id, request } = JSON.parse(line) as { id: number; request: AgentRequest };
    perform(request).then(
      (value) => console.log(JSON.stringify({ id, value })),
      (error) => console.log(JSON.stringify({ id, error: error instanceof Error ? error.message : String(error) })),
    );
  })
  .on("close", () => process.exit(0));
console.log(JSON.stringify({ id: 0, value: true }));
