/** Sends one HTTP request. Distinguishes whether it was sent at all, and limits the time until the answer. */
import http from "node:http";
import https from "node:https";
import type { Clock } from "./clock.ts";

export interface SendLimits {
  /** The limit for connecting, including TLS. Undefined: only `answerMs` applies. */
  readonly connectMs: number | undefined;
  /** The limit for the head of the answer, including connecting. */
  readonly answerMs: number;
}

/** The reason why no answer arrived. `cause` is the socket's error; an abort is one, too. */
export class SendError extends Error {
  /** True if no connection was established: no part of the request has reached a server. */
  readonly isUnsent: boolean;
  /** The limit that was exceeded, in milliseconds. */
  readonly limitMs: number | undefined;

  constructor(cause: unknown, isUnsent: boolean, limitMs: number | undefined) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.isUnsent = isUnsent;
    this.limitMs = limitMs;
  }
}

/**
 * Resolves with the head of the answer. Throws `SendError`. If the server closes an idle connection just as it is
 * reused, the request fails with a reset before it was processed; it is then sent once more on a new connection.
 */
export function send(
  url: URL,
  options: https.RequestOptions,
  body: string | undefined,
  limits: SendLimits,
  clock: Clock,
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    let [isAnswered, isConnected] = [false, false];
    let limitMs: number | undefined;
    const isTls = url.protocol === "https:";
    const request = (isTls ? https : http).request(url, options, (response) => {
      isAnswered = true;
      cancelAll();
      resolve(response);
    });
    const expire = (ms: number) =>
      clock.setTimer(ms, () => {
        limitMs = ms;
        request.destroy(new Error(`no data within ${ms / 1000} seconds`));
      });
    const { connectMs, answerMs } = limits;
    const cancelAnswer = expire(answerMs);
    const cancelConnect = connectMs === undefined ? () => undefined : expire(connectMs);
    const cancelAll = () => {
      cancelAnswer();
      cancelConnect();
    };
    const connected = () => {
      isConnected = true;
      cancelConnect();
    };
    request.once("socket", (socket) => {
      // A proxy's agent returns sockets that are already connected.
      if (request.reusedSocket || !socket.connecting) connected();
      else socket.once(isTls ? "secureConnect" : "connect", connected);
    });
    // The listener is kept: an abort is also an error of the request, even after the answer has begun.
    request.on("error", (error: NodeJS.ErrnoException) => {
      cancelAll();
      if (isAnswered) return;
      if (request.reusedSocket && error.code === "ECONNRESET") {
        send(url, options, body, limits, clock).then(resolve, reject);
      } else {
        reject(new SendError(error, !isConnected, limitMs));
      }
    });
    request.end(body);
  });
}
