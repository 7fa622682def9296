/**
 * Runs inside a namespace for the duration of a test: starts programs and times them, serves connections and opens
 * them. Each direction carries one JSON object per line. An answer carries the number of its request.
 */

import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { run } from "./command.ts";
import { type Listening, type Probe, probe, serve } from "./probe.ts";

export type Transport = "tcp" | "udp";

export type AgentRequest =
  | {
      readonly do: "run";
      readonly file: string;
      readonly args: readonly string[];
      readonly input?: string;
      readonly env?: Record<string, string>;
    }
  /** Tells each client the source address that the server saw. */
  | { readonly do: "listen"; readonly port: number; readonly transport: Transport; readonly host: string }
  /** Discards what clients send. At its end, each client gets the number of bytes and the time they took. */
  | { readonly do: "sink"; readonly port: number }
  /** Sends to a sink for a while. The answer is the sink's report. */
  | { readonly do: "pour"; readonly host: string; readonly port: number; readonly forMs: number }
  /** Sends each client's data back until the client closes the connection. */
  | { readonly do: "echo"; readonly port: number }
  /** Sends a number every `everyMs` to an echo over one connection, for a while. The answer says what was echoed. */
  | {
      readonly do: "converse";
      readonly host: string;
      readonly port: number;
      readonly forMs: number;
      readonly everyMs: number;
    }
  /** Opens a connection (from port `from`; TCP: from address `source`, if given). The answer is the server's reply. */
  | {
      readonly do: "connect";
      readonly host: string;
      readonly port: number;
      readonly transport: Transport;
      readonly from?: number;
      readonly source?: string;
      readonly timeoutMs: number;
    }
  /**
   * Tells each client at which address it reached the server and which source address the server saw. Replaces an
   * earlier `serve`.
   */
  | { readonly do: "serve"; readonly host: string; readonly list: readonly Listening[] }
  /** Opens connections to such servers. The answer is the result of each connection. */
  | ({ readonly do: "probe" } & Probe)
  /**
   * Opens connections one after another. The answer is the time of each, from the first packet to the reply, in
   * milliseconds.
   */
  | { readonly do: "dial"; readonly host: string; readonly port: number; readonly times: number }
  /** Sends one request to an HTTP server over a new connection. */
  | ({ readonly do: "ask"; readonly url: string } & HttpRequest);

export interface HttpRequest {
  /** Default: GET. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** A file with the certificate that signed the https server's certificate. */
  readonly ca?: string;
}

export interface HttpAnswer {
  /** 0 if no server answered. */
  readonly status: number;
  /** The reason, if the status is 0. */
  readonly body: string;
}

async function perform(request: AgentRequest): Promise<unknown> {
  switch (request.do) {
    case "run": {
      const { file, args, input = "", env } = request;
      const began = performance.now();
      const outcome = await run(file, args, { input, ...(env === undefined ? {} : { env }) });
      return { ...outcome, ms: performance.now() - began };
    }
    case "listen":
      return request.transport === "udp"
        ? answerDatagrams(request.port, request.host)
        : listen(request.port, request.host);
    case "sink":
      return swallow(request.port);
    case "pour":
      return pour(request.host, request.port, request.forMs);
    case "echo":
      return sendBack(request.port);
    case "converse":
      return converse(request.host, request.port, request.forMs, request.everyMs);
    case "connect":
      return request.transport === "udp"
        ? askByDatagram(request.host, request.port, request.timeoutMs, request.from)
        : talk(request.host, request.port, request.timeoutMs, request.source);
    case "serve":
      return serve(request.host, request.list);
    case "probe":
      return probe(request);
    case "dial":
      return dial(request.host, request.port, request.times);
    case "ask":
      return ask(request.url, request);
  }
}

/** All addresses of both families. */
const ANYWHERE = "::";

/** On a machine without IPv6 (ipv6.disable=1), "::" falls back to all IPv4 addresses. */
function listenAt(server: Server, port: number, host: string): Promise<true> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EAFNOSUPPORT" && host === ANYWHERE) listenAt(server, port, "0.0.0.0").then(resolve, reject);
      else reject(error);
    });
    server.listen(port, host, () => resolve(true));
  });
}

function listen(port: number, host: string): Promise<true> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      // The echo: the client's data, after the address that it came from.
      socket.once("data", (data) => socket.end(`${socket.remoteAddress?.replace(/^::ffff:/, "")} ${data}`));
    });
    listenAt(server, port, host).then(resolve, reject);
  });
}

function udpSocket(host: string): UdpSocket {
  return createSocket(host.includes(":") ? "udp6" : "udp4");
}

function answerDatagrams(port: number, host: string): Promise<true> {
  return new Promise((resolve, reject) => {
    const socket = udpSocket(host);
    socket.on("message", (data, from) =>
      socket.send(`${from.address.replace(/^::ffff:/, "")} ${data}`, from.port, from.address, () => undefined),
    );
    socket.once("error", reject);
    socket.bind(port, host, () => resolve(true));
  });
}

function askByDatagram(host: string, port: number, timeoutMs: number, from?: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = udpSocket(host);
    const end = (outcome: () => void) => {
      clearTimeout(timer);
      socket.close();
      outcome();
    };
    const silence = new Error(`no answer from ${host}:${port} within ${timeoutMs} ms`);
    const timer = setTimeout(() => end(() => reject(silence)), timeoutMs);
    socket.on("error", (error) => end(() => reject(error)));
    socket.on("message", (data) => end(() => resolve(String(data))));
    socket.bind(from ?? 0, () => {
      // A connected socket accepts answers only from that address, and gets the errors of refused packets.
      socket.connect(port, host, () => socket.send("echo"));
    });
  });
}

/** The data that a sink received between a client's first byte and its last. */
export interface Swallowed {
  readonly bytes: number;
  readonly ms: number;
}

function swallow(port: number): Promise<true> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let [bytes, began, ended] = [0, 0, 0];
      socket.on("error", () => socket.destroy());
      socket.on("data", (data) => {
        ended = performance.now();
        if (bytes === 0) began = ended;
        bytes += data.length;
      });
      socket.on("end", () => socket.end(JSON.stringify({ bytes, ms: ended - began } satisfies Swallowed)));
    });
    listenAt(server, port, ANYWHERE).then(resolve, reject);
  });
}

function pour(host: string, port: number, forMs: number): Promise<Swallowed> {
  return new Promise((resolve, reject) => {
    const chunk = Buffer.alloc(65_536);
    const socket = connect({ host, port });
    let text = "";
    socket.on("connect", () => {
      const until = performance.now() + forMs;
      const send = () => {
        while (performance.now() < until) {
          if (!socket.write(chunk)) {
            socket.once("drain", send);
            return;
          }
        }
        socket.end();
      };
      send();
    });
    socket.on("data", (data) => {
      text += data;
    });
    socket.on("error", reject);
    socket.on("close", () =>
      text === ""
        ? reject(new Error(`${host}:${port} closed the connection without a reply`))
        : resolve(JSON.parse(text)),
    );
  });
}

function sendBack(port: number): Promise<true> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.setNoDelay(true).on("error", () => socket.destroy());
      socket.pipe(socket);
    });
    listenAt(server, port, ANYWHERE).then(resolve, reject);
  });
}

/** The result of a `converse` request. */
export interface Conversation {
  readonly sent: number;
  /** Number of numbers echoed, in order. */
  readonly echoed: number;
  /** The longest time from sending a number to its echo. */
  readonly longestMs: number;
}

function converse(host: string, port: number, forMs: number, everyMs: number): Promise<Conversation> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port }).setNoDelay(true);
    const sentMs: number[] = [];
    let [echoed, longestMs, rest] = [0, 0, ""];
    socket.on("connect", () => {
      const timer = setInterval(() => socket.write(`${sentMs.push(performance.now())}\n`), everyMs);
      setTimeout(() => {
        clearInterval(timer);
        socket.end();
      }, forMs);
    });
    socket.on("data", (data) => {
      const lines = (rest + data).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (Number(line) !== echoed + 1) reject(new Error(`${host}:${port} echoed ${line} after ${echoed}`));
        longestMs = Math.max(longestMs, performance.now() - (sentMs[echoed] ?? 0));
        echoed += 1;
      }
    });
    socket.on("error", reject);
    socket.on("close", () => resolve({ sent: sentMs.length, echoed, longestMs }));
  });
}

function talk(host: string, port: number, timeoutMs: number, source?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, ...(source === undefined ? {} : { localAddress: source }) });
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

async function dial(host: string, port: number, times: number): Promise<number[]> {
  const ms: number[] = [];
  for (let at = 0; at < times; at++) {
    const began = performance.now();
    const socket = connect({ host, port });
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    ms.push(performance.now() - began);
    socket.on("error", () => undefined).destroy();
  }
  return ms;
}

async function ask(url: string, { method = "GET", headers = {}, body, ca }: HttpRequest): Promise<HttpAnswer> {
  // Loaded on demand: most agents send no HTTP request and start faster without it.
  const { request } = await (url.startsWith("https:") ? import("node:https") : import("node:http"));
  const options = { method, headers, agent: false, ...(ca === undefined ? {} : { ca: readFileSync(ca) }) } as const;
  return new Promise((resolve) => {
    const fail = (error: Error) => resolve({ status: 0, body: String(error) });
    const sent = request(url, options, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (data: string) => {
        text += data;
      });
      answer.on("error", fail).on("end", () => resolve({ status: answer.statusCode ?? 0, body: text }));
    });
    sent.on("error", fail).end(body);
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
