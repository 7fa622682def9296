/**
 * One contract for three implementations: the fake of the unit tests, Node.js, and the executables' C host. Node.js
 * implements files only: it has no locks, namespaces or blocking sockets, and the daemon needs none.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { FakeSystem, OWN_NAMESPACE } from "../../pkg/sys/fake.ts";
import { nodeFiles } from "../../pkg/sys/node.ts";
import { Probe } from "./executable.ts";
import { filesScenarios } from "./files.ts";
import { bytesOf, textOf } from "./outcome.ts";
import { systemScenarios, type World } from "./system.ts";
import { textScenarios } from "./text.ts";
import { Worlds } from "./world.ts";

const worlds = new Worlds();
const probe = new Probe();
let world: World;

beforeAll(async () => {
  await worlds.open();
  await probe.compile();
}, 120_000);

afterAll(async () => {
  await worlds.close();
  probe.remove();
});

beforeEach(() => {
  world = worlds.next();
});

const echoing = () => (data: Uint8Array) => (textOf(data) === "end" ? [data, bytesOf("")] : [data]);

function fakeSystem(): FakeSystem {
  const system = new FakeSystem({
    namespaces: { "/proc/self/ns/net": OWN_NAMESPACE },
    liveSockets: [world.liveSocket],
    fullSockets: [world.fullSocket],
    servers: { [world.echoSocket]: echoing },
    tcpServers: { [world.echoPort]: echoing },
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
  system.writeFile(`${world.folder}/../fifo`, bytesOf(""));
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

test("with standard output closed, the answer goes into no file that is opened", () => {
  probe.askDeaf({ contract: "system", scenario: "two locks are independent", world });
  expect(["a", "b"].map((name) => readFileSync(`${world.folder}/${name}`, "utf8"))).toEqual(["", ""]);
});

describe.each(Object.entries(textScenarios))("%s", (scenario, run) => {
  test("on the C host as on Node.js", () => {
    expect(probe.ask({ contract: "text", scenario, world })).toEqual(run());
  });
});
