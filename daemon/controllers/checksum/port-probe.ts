/** Sends a datagram to a closed port. A host that receives it with a correct checksum answers "port unreachable". */

import dgram from "node:dgram";
import { CLOSED_PORT } from "../../../pkg/footprint.ts";
import { type Address, formatAddress } from "../../../pkg/ip/address.ts";

/**
 * Hosts send one such answer per second to one destination (icmp_ratelimit), so one of two tries succeeds if no answer
 * is late.
 */
const TRIES = 3;
const WAIT_MS = 1100;

/** True if an answer arrived; false if none did. Rejects if this node itself cannot send. */
export async function isPortUnreachable(local: Address, peer: Address): Promise<boolean> {
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    if (await askOnce(local, peer)) return true;
  }
  return false;
}

function askOnce(local: Address, peer: Address): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket(local.family === 4 ? "udp4" : "udp6");
    const timer = setTimeout(() => end(() => resolve(false)), WAIT_MS);
    const end = (settle: () => void) => {
      clearTimeout(timer);
      socket.removeAllListeners("error").on("error", () => undefined);
      socket.close();
      settle();
    };
    socket.on("error", (error: NodeJS.ErrnoException) =>
      end(() => (error.code === "ECONNREFUSED" ? resolve(true) : reject(error))),
    );
    // The callback of `connect` is also called with its error: the peer's route may vanish at any time.
    socket.on("connect", () => socket.send("weft"));
    socket.bind(0, formatAddress(local), () => socket.connect(CLOSED_PORT, formatAddress(peer)));
  });
}
