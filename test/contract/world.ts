/** The environment of the scenarios: files, programs and sockets, made for one test file. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import type { World } from "./system.ts";

const PROGRAM =
  '#!/bin/sh\nprintf "%s:" "$CNI_COMMAND"\nfor word; do printf "[%s]" "$word"; done\ncat\nprintf told >&2\nexit 3\n';

/** Runs in a separate process: the test's process waits for the probe and cannot serve meanwhile. */
const ECHO = `const { createServer } = require("node:net");
const converse = (socket) => socket.on("data", (data) => {
  socket.write(data);
  if (String(data) === "end") socket.end();
});
createServer(converse).listen(process.argv[1], () => {
  const tcp = createServer(converse).listen(0, "127.0.0.1", () => console.log(tcp.address().port));
})`;

/** Stops itself, so that it accepts no connections. */
const STOPPED = `require("node:net").createServer().listen({ path: process.argv[1], backlog: 1 }, () => {
  process.kill(process.pid, "SIGSTOP");
})`;

export class Worlds {
  readonly #root = mkdtempSync(`${tmpdir()}/weft-contract-`);
  readonly #umask = process.umask(0o022);
  readonly #server: Server = createServer();
  #echo: ChildProcess | undefined;
  #echoPort = 0;
  #stopped: ChildProcess | undefined;
  readonly #queued: Socket[] = [];
  #count = 0;

  async open(): Promise<void> {
    const root = this.#root;
    this.#echo = spawn(process.execPath, ["-e", ECHO, `${root}/echo`], { stdio: ["ignore", "pipe", "inherit"] });
    this.#echoPort = Number(await new Promise((resolve) => this.#echo?.stdout?.once("data", resolve)));
    writeFileSync(`${root}/program`, PROGRAM);
    writeFileSync(`${root}/suicide`, "#!/bin/sh\nkill -TERM $$\n");
    for (const name of ["program", "suicide"]) chmodSync(`${root}/${name}`, 0o755);
    writeFileSync(`${root}/plain`, "", { mode: 0o644 });
    execFileSync("mkfifo", [`${root}/fifo`]);
    await new Promise<void>((resolve) => {
      this.#server.listen(`${root}/socket`, resolve);
    });
    this.#stopped = spawn(process.execPath, ["-e", STOPPED, `${root}/full`], { stdio: "ignore" });
    await this.#fill(`${root}/full`);
  }

  /** Connects until the listener's queue is full. */
  async #fill(path: string): Promise<void> {
    for (const limit = Date.now() + 20_000; Date.now() < limit; ) {
      const socket = connect(path);
      const code = await new Promise<string | undefined>((resolve) => {
        socket.once("connect", () => resolve(undefined));
        socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
      });
      if (code === "EAGAIN") return;
      if (code === undefined) this.#queued.push(socket);
      else await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`the queue of ${path} did not fill up`);
  }

  /** The environment for one scenario, with a new empty folder. */
  next(): World {
    const root = this.#root;
    const folder = `${root}/${this.#count++}`;
    mkdirSync(folder);
    return {
      folder,
      program: `${root}/program`,
      suicide: `${root}/suicide`,
      plainFile: `${root}/plain`,
      liveSocket: `${root}/socket`,
      echoSocket: `${root}/echo`,
      echoPort: this.#echoPort,
      fullSocket: `${root}/full`,
    };
  }

  async close(): Promise<void> {
    process.umask(this.#umask);
    this.#echo?.kill();
    for (const socket of this.#queued) socket.destroy();
    this.#stopped?.kill("SIGKILL");
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#root, { recursive: true, force: true });
  }
}
