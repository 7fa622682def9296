/**
 * The C host built for arm64 fulfils the contract of pkg/sys/system.ts: system calls, structures, locks, child
 * processes.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ARM64 } from "../../hack/compile/target.ts";
import { Probe } from "../contract/executable.ts";
import { filesScenarios } from "../contract/files.ts";
import { systemScenarios } from "../contract/system.ts";
import { textScenarios } from "../contract/text.ts";
import { Worlds } from "../contract/world.ts";

/**
 * Scenarios in which qemu-user itself behaves differently. They are tested in the emulated machine, which has a real
 * kernel.
 */
const EMULATORS_OWN: Readonly<Record<string, string>> = {
  "the process's own namespace has one identity under both names": "it lacks the ioctls of nsfs (NS_GET_NSTYPE)",
  "closing a namespace twice does not close the next one": "the same",
  "a closed namespace cannot be entered": "the same",
  "inNamespace returns the result of its function, and passes its exception on": "the same",
  "a program that cannot be started is an error": "its vfork is a fork: the parent does not see a failed execve",
};

const worlds = new Worlds();
const probe = new Probe(ARM64);

beforeAll(async () => {
  await worlds.open();
  await probe.compile();
}, 120_000);

afterAll(async () => {
  await worlds.close();
  probe.remove();
});

describe.each(Object.entries(filesScenarios))("%s", (scenario, { expected }) => {
  test("on arm64", () => {
    expect(probe.ask({ contract: "files", scenario, world: worlds.next() })).toEqual(expected);
  });
});

test("the scenarios left to the emulated machine exist", () => {
  expect(Object.keys(systemScenarios)).toEqual(expect.arrayContaining(Object.keys(EMULATORS_OWN)));
});

const ours = Object.entries(systemScenarios).filter(([scenario]) => !(scenario in EMULATORS_OWN));

describe.each(ours)("%s", (scenario, { expected }) => {
  test("on arm64", () => {
    expect(probe.ask({ contract: "system", scenario, world: worlds.next() })).toEqual(expected);
  });
});

describe.each(Object.entries(textScenarios))("%s", (scenario, run) => {
  test("on arm64 as on Node.js", () => {
    expect(probe.ask({ contract: "text", scenario, world: worlds.next() })).toEqual(run());
  });
});
