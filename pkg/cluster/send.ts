/** One HTTP request on its way: whether it was sent at all, and how long it may take to be answered. */
import http from "node:http";
import https from "node:https";
import type { Clock } from "./clock.ts";

export interface SendLimits {
  /** For the connection, TLS included. Undefined: `answerMs` alone. */
  readonly connectMs: number | undefined;
  /** For the head of the answer, connecting included. */
  readonly answerMs: number;
}

/** What stood in the way of an answer. `cause` is the socket's error, which an abort is, too. */
export class SendError extends Error {
  /** No connection came about: nothing of the request has reached a server. */
  readonly isUnsent: boolean;
  /** The limit that was reached, in milliseconds. */
  readonly limitMs: number | undefined;

  constructor(cause: unknown, isUnsent: boolean, limitMs: number | undefined) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.isUnsent = isUnsent;
    this.limitMs = limitMs;
  }
}

/**
 * Resolves with the head of the answer; throws `SendError`. A kept connection that the server closed just as it was used
 * again answers with a reset; nothing was processed then, and the request goes out once more on a new one.
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
        request.destroy(new Error(`nothing came within ${ms / 1000} seconds`));
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
      // A proxy's agent hands over sockets that are connected.
      if (request.reusedSocket || !socket.connecting) connected();
      else socket.once(isTls ? "secureConnect" : "connect", connected);
    });
    // The listener stays: an abort is an error of the request, too, even when the answer has begun.
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
