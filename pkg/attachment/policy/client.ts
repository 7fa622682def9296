/**
 * The plugin's side of the policy socket (`protocol.ts`): asks weftd to isolate a pod's addresses, and waits until the
 * kernel has the rules.
 */
import { messageOf } from "../../cni/errors.ts";
import { isSystemError } from "../../sys/errors.ts";
import type { StreamSocket, System } from "../../sys/system.ts";
import { type AttachReply, type AttachRequest, SILENCE_LIMIT_MS, WAITING_LIMIT_MS } from "./protocol.ts";

/** weftd did not answer: it does not run, hangs, closed the connection, or sent something else than a reply. */
export class NoAnswer extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(reason, options);
    this.name = "NoAnswer";
  }
}

export type FinalReply = Exclude<AttachReply, { readonly is: "waiting" }>;

/** A longer line is not a reply. A reason may contain an error of the kernel or of the API server. */
const LONGEST_REPLY = 16_384;
const LINE_FEED = 0x0a;

/** A request that weftd has received, or will receive, and has not answered. */
export class PendingRequest {
  readonly #system: System;
  readonly #socket: StreamSocket;
  readonly #untilMs: number;

  private constructor(system: System, socket: StreamSocket, untilMs: number) {
    this.#system = system;
    this.#socket = socket;
    this.#untilMs = untilMs;
  }

  /** Sends a request and does not wait for the reply: weftd works meanwhile. Throws `NoAnswer`. */
  static send(system: System, path: string, request: AttachRequest): PendingRequest {
    const untilMs = system.now() + SILENCE_LIMIT_MS;
    return explained(() => {
      const socket = system.connectUnix(path, SILENCE_LIMIT_MS);
      try {
        socket.send(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
        return new PendingRequest(system, socket, untilMs);
      } catch (error) {
        socket.close();
        throw error;
      }
    });
  }

  /** Waits for the reply. Throws `NoAnswer` if weftd does not answer within the limits of the protocol. */
  answer(): FinalReply {
    const lines = new Lines(this.#system, this.#socket);
    return explained(() => {
      const first = parseReply(lines.next(this.#untilMs, SILENCE_LIMIT_MS));
      if (first.is !== "waiting") return first;
      const second = parseReply(lines.next(this.#system.now() + WAITING_LIMIT_MS, WAITING_LIMIT_MS));
      if (second.is === "waiting") throw new NoAnswer('weftd sent "waiting" twice');
      return second;
    });
  }

  close(): void {
    this.#socket.close();
  }
}

/** Throws `NoAnswer` instead of a `SystemError`. */
function explained<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new NoAnswer(reasonOf(error.code) ?? messageOf(error), { cause: error });
  }
}

/** Throws `NoAnswer` for anything but a reply. */
function parseReply(line: string): AttachReply {
  try {
    const reply = JSON.parse(line) as Record<string, unknown> | null;
    if (reply?.is === "waiting") return { is: "waiting" };
    if (reply?.is === "installed" && typeof reply.isIsolated === "boolean") {
      return { is: "installed", isIsolated: reply.isIsolated };
    }
    if (reply?.is === "failed" && typeof reply.reason === "string") return { is: "failed", reason: reply.reason };
  } catch {
    // Reported below.
  }
  throw new NoAnswer(`weftd sent ${JSON.stringify(line.slice(0, LONGEST_QUOTE))} instead of a reply`);
}

const LONGEST_QUOTE = 80;

function reasonOf(code: string): string | undefined {
  if (code === "ENOENT") return "weftd does not run: the socket does not exist";
  if (code === "ECONNREFUSED") return "weftd does not run: it left the socket behind";
  if (code === "ETIMEDOUT") return "weftd hangs: it accepts no connections";
  if (code === "EPIPE") return "weftd closed the connection without a reply";
  return undefined;
}

/** Splits what a socket receives into lines. */
class Lines {
  readonly #system: System;
  readonly #socket: StreamSocket;
  #received = new Uint8Array();

  constructor(system: System, socket: StreamSocket) {
    this.#system = system;
    this.#socket = socket;
  }

  /** Waits for the next line until `untilMs`. `limitMs` is for the error. */
  next(untilMs: number, limitMs: number): string {
    for (;;) {
      const end = this.#received.indexOf(LINE_FEED);
      if (end >= 0) {
        const line = new TextDecoder().decode(this.#received.subarray(0, end));
        this.#received = this.#received.slice(end + 1);
        return line;
      }
      if (this.#received.length > LONGEST_REPLY)
        throw new NoAnswer(`weftd sent a line of more than ${LONGEST_REPLY} bytes`);
      this.#receive(untilMs, limitMs);
    }
  }

  #receive(untilMs: number, limitMs: number): void {
    // The wall clock may be set back meanwhile.
    const leftMs = Math.min(untilMs - this.#system.now(), limitMs);
    const silent = `weftd hangs: it has not answered for ${limitMs} ms`;
    if (leftMs <= 0) throw new NoAnswer(silent);
    let more: Uint8Array;
    try {
      more = this.#socket.receive(leftMs);
    } catch (error) {
      if (isSystemError(error, "ETIMEDOUT")) throw new NoAnswer(silent, { cause: error });
      throw error;
    }
    if (more.length === 0) throw new NoAnswer("weftd closed the connection without a reply");
    const all = new Uint8Array(this.#received.length + more.length);
    all.set(this.#received);
    all.set(more, this.#received.length);
    this.#received = all;
  }
}
