/** A datagram to a closed port: whoever gets it, and finds its checksum right, says that nobody is there. */

import dgram from "node:dgram";
import { CLOSED_PORT } from "../../../pkg/footprint.ts";
import { type Address, formatAddress } from "../../../pkg/ip/address.ts";

/** Hosts send such an answer to one destination once a second (icmp_ratelimit): one of two gets through, if none is late. */
const TRIES = 3;
const WAIT_MS = 1100;

/** True when the answer came; false when none did. Rejects when this node itself cannot send. */
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
    // A callback of `connect` is called with its error, too: the peer's route may go at any moment.
    socket.on("connect", () => socket.send("weft"));
    socket.bind(0, formatAddress(local), () => socket.connect(CLOSED_PORT, formatAddress(peer)));
  });
}
