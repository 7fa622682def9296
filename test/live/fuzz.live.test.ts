/**
 * Calls the executables with random standard input and environment on a real kernel. Each call ends with status 0, or
 * with status 1 and a CNI error on standard output, never by a signal. After all deletions, nothing is left.
 */
import { readdirSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { environment, input } from "../fuzz/arbitrary.ts";
import { STUMBLE } from "../fuzz/outcome.ts";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";

const PLUGINS = readdirSync(OURS).filter((name) => name !== "weft" && name !== "weftd");
const CALLS = Number(process.env.WEFT_FUZZ_RUNS ?? 60);

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
});
afterAll(() => bed.close());

describe.each(PLUGINS)("%s", (plugin) => {
  test("answers any input, and leaves nothing", async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const before = await remains();
    for (const [bytes, variables] of fc.sample(fc.tuple(input, environment), { numRuns: CALLS, seed })) {
      const text = new TextDecoder().decode(bytes);
      const env = realised(variables);
      const told = `seed ${seed}: ${JSON.stringify(env)} ${JSON.stringify(text)}`;
      const { status, stdout } = await bed.node.run(`${OURS}/${plugin}`, [], text, env);
      expect([0, 1], told).toContain(status);
      if (status === 1) {
        const { code, msg } = JSON.parse(stdout) as Record<string, unknown>;
        expect([code, msg], told).toEqual([expect.any(Number), expect.stringMatching(/./)]);
        expect(msg, told).not.toMatch(STUMBLE);
      } else if (env.CNI_COMMAND === "ADD") {
        const deleted = await bed.node.run(`${OURS}/${plugin}`, [], text, { ...env, CNI_COMMAND: "DEL" });
        expect([deleted.status, deleted.stdout], told).toEqual([0, ""]);
      }
    }
    expect(await remains(), `seed ${seed}`).toEqual(before);
  });
});

/** Replaces the runtime's pod by the test bed's, and adds the other variables that processes need. */
function realised(variables: Record<string, string>): Record<string, string> {
  const entries = Object.entries(variables).map(([name, value]) => [name, value.replaceAll("\0", "")]);
  const { CNI_NETNS = "", CNI_PATH = "", ...rest } = Object.fromEntries(entries) as Record<string, string>;
  return {
    ...rest,
    CNI_NETNS: CNI_NETNS === "/run/netns/a" ? bed.podNamespace.path : CNI_NETNS,
    CNI_PATH: CNI_PATH === "/opt/cni/bin" ? OURS : CNI_PATH,
  };
}

/** Links except bridges (which stay for the next pod), the pod's settings, reservations, elements of weft's tables. */
async function remains(): Promise<unknown> {
  const links = async (inside: PluginBed["node"]) =>
    (await inside.json<{ ifname: string; linkinfo?: { info_kind: string } }[]>("ip", ["-j", "-d", "link", "show"]))
      .filter(({ linkinfo }) => linkinfo?.info_kind !== "bridge")
      .map(({ ifname }) => ifname);
  const ruleset = await bed.node.succeed("nft", ["list", "ruleset"]);
  return {
    node: await links(bed.node),
    pod: await links(bed.pod),
    reservations: await bed.reservations(),
    marks: ruleset.match(/cni:[^"]*/g) ?? [],
  };
}
