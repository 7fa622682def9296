// Tells each client which pod this is, and under which address the client is seen.
import { createServer } from "node:http";
import { hostname } from "node:os";

createServer(({ socket }, response) => {
  const client = (socket.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "");
  response.end(JSON.stringify({ pod: hostname(), client }));
}).listen(8080);
