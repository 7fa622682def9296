/**
 * Calls every plugin in memory with random standard input and environment, on a node whose kernel does not answer. Each
 * call ends with status 0, or with status 1 and a CNI error. Nothing is thrown, nothing is left open, and a failed ADD
 * leaves no file.
 */
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { runPlugin } from "../../pkg/cni/loop.ts";
import type { Delegates, Plugin } from "../../pkg/cni/plugin.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { environment, input } from "./arbitrary.ts";
import { STUMBLE } from "./outcome.ts";
import { runs } from "./samples.ts";

const FOLDER = resolve("plugins");
const NAMES = readdirSync(FOLDER).sort();
const BIN = "/opt/cni/bin";

const plugins: Record<string, Plugin> = {};
beforeAll(async () => {
  for (const name of NAMES) plugins[name] = ((await import(`${FOLDER}/${name}/main.ts`)) as { plugin: Plugin }).plugin;
});

function node(name: string): FakeFiles {
  const files = new FakeFiles();
  files.makeDirectory(BIN);
  files.writeFile(`${BIN}/weft`, new Uint8Array());
  for (const link of NAMES) files.link(`${BIN}/weft`, `${BIN}/${link}`);
  files.makeDirectory("/run/netns");
  files.makeDirectory("/etc");
  files.writeFile("/etc/passwd", new Uint8Array());
  files.makeDirectory("/run/flannel");
  files.writeFile(
    "/run/flannel/subnet.env",
    new TextEncoder().encode(
      "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.1.1/24\nFLANNEL_MTU=1400\nFLANNEL_IPMASQ=true\n",
    ),
  );
  expect(files.status(`${BIN}/${name}`)).toBeDefined();
  return files;
}

describe.each(NAMES)("%s", (name) => {
  test("answers any input according to CNI", () => {
    fc.assert(
      fc.property(input, environment, (bytes, variables) => {
        const files = node(name);
        const before = addressesOf(files);
        const system = new FakeSystem({
          files,
          executablePath: `${BIN}/weft`,
          input: bytes,
          environment: variables,
          namespaces: { "/run/netns/a": "4:1" },
        });
        const status = runPlugin(plugins[name] as Plugin, system, plugins as Delegates);
        expect(system.openCount).toBe(0);
        if (status === 0) return;
        const { code, msg, cniVersion } = JSON.parse(system.output) as Record<string, unknown>;
        // An unexpected error also has code 999; its message says what failed, and never has the wording of a bug.
        if (code === 999) expect(msg).not.toMatch(STUMBLE);
        expect([code, msg, cniVersion]).toEqual([expect.any(Number), expect.stringMatching(/./), expect.any(String)]);
        if (variables.CNI_COMMAND === "ADD") expect(addressesOf(files)).toEqual(before);
      }),
      { numRuns: runs(60, 2000) },
    );
  });
});

/** Reservations, wherever the configuration put them. */
function addressesOf(files: FakeFiles, folder = ""): string[] {
  return files.readDirectory(folder === "" ? "/" : folder).flatMap((name) => {
    const path = `${folder}/${name}`;
    if (files.status(path)?.kind === "directory") return addressesOf(files, path);
    return /^[0-9a-f]*[.:][0-9a-f.:]+$/.test(name) ? [path] : [];
  });
}
