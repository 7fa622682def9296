/**
 * One contract, three sides of the door: the fake that unit tests use, Node.js, and the executables' C host. Node.js has
 * files alone: no locks, namespaces or blocking sockets are to be had there, and the daemon does without them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { FakeSystem, OWN_NAMESPACE } from "../../pkg/sys/fake.ts";
import { nodeFiles } from "../../pkg/sys/node.ts";
import { Probe } from "./executable.ts";
import { filesScenarios } from "./files.ts";
import { bytesOf, textOf } from "./outcome.ts";
import { systemScenarios, type World } from "./system.ts";
import { textScenarios } from "./text.ts";

const root = mkdtempSync(`${tmpdir()}/weft-contract-`);
const probe = new Probe();
const server = createServer();
const umask = process.umask(0o022);
let count = 0;
let world: World;

const program =
  '#!/bin/sh\nprintf "%s:" "$CNI_COMMAND"\nfor word; do printf "[%s]" "$word"; done\ncat\nprintf told >&2\nexit 3\n';

/** A process of its own: this one waits for the probe without turning to anybody else. */
const ECHO = `require("node:net").createServer((socket) => socket.on("data", (data) => {
  socket.write(data);
  if (String(data) === "end") socket.end();
})).listen(process.argv[1], () => console.log("listening"))`;
let echo: ChildProcess;

beforeAll(async () => {
  echo = spawn(process.execPath, ["-e", ECHO, `${root}/echo`], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => echo.stdout?.once("data", resolve));
  writeFileSync(`${root}/program`, program);
  writeFileSync(`${root}/suicide`, "#!/bin/sh\nkill -TERM $$\n");
  for (const name of ["program", "suicide"]) chmodSync(`${root}/${name}`, 0o755);
  writeFileSync(`${root}/plain`, "", { mode: 0o644 });
  await new Promise<void>((resolve) => {
    server.listen(`${root}/socket`, resolve);
  });
  await probe.compile();
}, 120_000);

afterAll(async () => {
  process.umask(umask);
  echo.kill();
  await new Promise((resolve) => server.close(resolve));
  probe.remove();
  rmSync(root, { recursive: true, force: true });
});

beforeEach(() => {
  const folder = `${root}/${count++}`;
  mkdirSync(folder);
  world = {
    folder,
    program: `${root}/program`,
    suicide: `${root}/suicide`,
    plainFile: `${root}/plain`,
    liveSocket: `${root}/socket`,
    echoSocket: `${root}/echo`,
  };
});

function fakeSystem(): FakeSystem {
  const system = new FakeSystem({
    namespaces: { "/proc/self/ns/net": OWN_NAMESPACE },
    liveSockets: [world.liveSocket],
    servers: { [world.echoSocket]: () => (data) => (textOf(data) === "end" ? [data, bytesOf("")] : [data]) },
    programs: {
      [world.program]: ({ args = [], environment, input }) => ({
        status: 3,
        output: bytesOf(`${environment.CNI_COMMAND}:${args.map((word) => `[${word}]`).join("")}${textOf(input)}`),
        errorOutput: bytesOf("told"),
      }),
      [world.suicide]: () => ({ status: 128 + 15 }),
    },
  });
  system.makeDirectory(world.folder);
  system.writeFile(world.plainFile, bytesOf(""));
  return system;
}

describe.each(Object.entries(filesScenarios))("%s", (scenario, { run, expected }) => {
  test("in the fake", () => {
    expect(run(fakeSystem(), world.folder)).toEqual(expected);
  });
  test("on Node.js", () => {
    expect(run(nodeFiles, world.folder)).toEqual(expected);
  });
  test("on the C host", () => {
    expect(probe.ask({ contract: "files", scenario, world })).toEqual(expected);
  });
});

describe.each(Object.entries(systemScenarios))("%s", (scenario, { run, expected }) => {
  test("in the fake", () => {
    expect(run(fakeSystem(), world)).toEqual(expected);
  });
  test("on the C host", () => {
    expect(probe.ask({ contract: "system", scenario, world })).toEqual(expected);
  });
});

test("where standard output is closed, no file that is opened gets the answer", () => {
  probe.askDeaf({ contract: "system", scenario: "two locks are apart", world });
  expect(["a", "b"].map((name) => readFileSync(`${world.folder}/${name}`, "utf8"))).toEqual(["", ""]);
});

describe.each(Object.entries(textScenarios))("%s", (scenario, run) => {
  test("on the C host as on Node.js", () => {
    expect(probe.ask({ contract: "text", scenario, world })).toEqual(run());
  });
});
