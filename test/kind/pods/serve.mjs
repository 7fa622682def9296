// Answers each client with the name of this pod and the client's address as seen here.
import { createServer } from "node:http";
import { hostname } from "node:os";

createServer(({ socket }, response) => {
  const client = (socket.remoteAddress ?? "").replace(/^::ffff:(?=\d+\.)/, "");
  response.end(JSON.stringify({ pod: hostname(), client }));
}).listen(8080);
