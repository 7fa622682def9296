/**
 * Runs inside a namespace of the live tests: forwards framed datagrams from standard input to nfnetlink, and writes the
 * answers to standard output. Its first output frame is the socket's port. Ends with its input. The arguments are
 * groups to join.
 */
import { NETLINK_NETFILTER } from "../../../pkg/netlink/message.ts";
import { openEventNetlink } from "../../../pkg/sys/node-netlink.ts";
import { Frames, framed } from "./frames.ts";

const socket = openEventNetlink(NETLINK_NETFILTER);
const frames = new Frames((datagram) => socket.send(datagram));
socket.onDatagram((datagram) => process.stdout.write(framed(datagram)));
socket.onError((error) => {
  throw error;
});
for (const group of process.argv.slice(2)) socket.addMembership(Number(group));
process.stdout.write(framed(new TextEncoder().encode(String(socket.port))));
process.stdin.on("data", (bytes: Uint8Array) => frames.take(bytes));
process.stdin.on("end", () => socket.close());
