/**
 * One TCP connection that transfers a line every 10 ms.
 *
 *     serve PORT        pushes lines to each client until the client sends, then echoes its data
 *     receive HOST PORT connects, sends nothing, and receives
 *     talk HOST PORT    connects, and sends lines, which come back
 *
 * A client prints "opened", the time in milliseconds since 1970 of each piece of data that arrives, and "ended REASON".
 */
import { connect, createServer } from "node:net";

const EVERY_MS = 10;
const [, , mode, ...rest] = process.argv;

if (mode === "serve") {
  createServer((socket) => {
    const push = setInterval(() => socket.write("x\n"), EVERY_MS);
    socket.on("data", (data) => {
      clearInterval(push);
      socket.write(data);
    });
    socket.on("close", () => clearInterval(push));
    socket.on("error", () => socket.destroy());
  }).listen(Number(rest[0]), "::", () => console.log("listening"));
} else {
  const [host = "", port] = rest;
  const socket = connect({ host, port: Number(port) }).setNoDelay(true);
  socket.on("connect", () => {
    console.log("opened");
    if (mode === "talk") setInterval(() => socket.write("x\n"), EVERY_MS);
  });
  socket.on("data", () => console.log(Date.now()));
  const end = (reason: string) => {
    console.log(`ended ${reason}`);
    process.exit(0);
  };
  socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  socket.on("end", () => end("by the server"));
}
