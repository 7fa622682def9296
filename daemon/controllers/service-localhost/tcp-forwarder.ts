/** Forwards TCP connections to ::1 byte by byte. Each direction ends when its sender ends it. */
import { connect, createServer, type Socket } from "node:net";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { type Forwarder, type ForwarderOptions, LOCALHOST } from "./forwarder.ts";

/** Longer than some retries of a SYN (1, 3 and 7 seconds). */
const CONNECT_LIMIT_MS = 10_000;

const SOCKET = {
  /** The number of bytes read ahead of a slow receiver, and of bytes that wait to be written to it. */
  highWaterMark: 16 << 10,
  allowHalfOpen: true,
  noDelay: true,
  /** The kernel's probes detect a client or endpoint that vanished. */
  ...{ keepAlive: true, keepAliveInitialDelay: 60_000 },
} as const;

export function openTcpForwarder({ to: first, port, quota, onBroken }: ForwarderOptions): Promise<Forwarder> {
  let to = first;
  const open = new Set<Socket>();
  const server = createServer(SOCKET, (client) => {
    // An immediate reset is clearer to the client than a waiting connection.
    if (!quota.take()) return void client.on("error", ignore).resetAndDestroy();
    const target = connect({ ...SOCKET, host: formatAddress(to.address), port: to.port });
    target.setTimeout(CONNECT_LIMIT_MS, () => target.destroy());
    target.once("connect", () => target.setTimeout(0));
    join(client, target, () => {
      open.delete(client);
      quota.release();
    });
    open.add(client);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: LOCALHOST, port, ipv6Only: true }, () => {
      server.off("error", reject).on("error", (error) => server.close(() => onBroken(error)));
      resolve({
        redirect: (other) => {
          to = other;
        },
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            for (const socket of open) socket.resetAndDestroy();
          }),
      });
    });
  });
}

/**
 * Connects two sockets in both directions. If one is reset, so is the other. `onEnd` is called when both are closed.
 */
function join(a: Socket, b: Socket, onEnd: () => void): void {
  let left = 2;
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    one.on("error", ignore);
    one.once("close", (hadError: boolean) => {
      // The pipe has already forwarded an orderly end.
      if (hadError || !one.readableEnded) other.resetAndDestroy();
      if (--left === 0) onEnd();
    });
    one.pipe(other);
  }
}

const ignore = () => undefined;
