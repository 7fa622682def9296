/**
 * The calls of kubelet 1.36 and containerd 2.1.9 to the reference plugins 1.9.1, repeated with weft's: the same
 * answers, except hardware addresses and random names. Recorded on a real node; see test/vectors/cni-calls.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";

interface Recording {
  readonly env: Readonly<Record<string, string>>;
  readonly input: string;
  readonly status: number;
  readonly output: string;
}

/** Environment, an empty line, standard input, an empty line, "exit N", standard output. */
function read(name: string): Recording {
  const [head = "", input = "", rest = ""] = readFileSync(`test/vectors/cni-calls/${name}.txt`, "utf8").split("\n\n");
  const env = Object.fromEntries(
    head.split("\n").map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  const [status = "", ...output] = rest.split("\n");
  return { env, input, status: Number(status.replace("exit ", "")), output: output.join("\n").trim() };
}

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
});
afterAll(() => bed.close());

function normalised(output: string): unknown {
  if (output === "") return undefined;
  const text = output
    .replace(/"([0-9a-f]{2}:){5}[0-9a-f]{2}"/g, (mac) => (mac === '"00:00:00:00:00:00"' ? mac : '"MAC"'))
    .replace(/veth[0-9a-f]{8}/g, "vethX")
    // 0.3.1 has a version for each address; the reference's loopback omits it.
    .replace(/"version": "[46]",\s*/g, "")
    .replace(/"(\/var)?\/run\/netns\/[^"]*"/g, '"NETNS"');
  return JSON.parse(text);
}

test.each([
  "01-loopback-ADD",
  "02-bridge-ADD",
  "03-portmap-ADD",
  "09-bridge-STATUS",
  "07-portmap-DEL",
  "08-bridge-DEL",
  "05-loopback-DEL",
])("%s", async (name) => {
  const { env, input, status, output } = read(name);
  const plugin = name.split("-")[1] as string;
  const here = { ...env, CNI_NETNS: env.CNI_NETNS === "" ? "" : bed.podNamespace.path, CNI_PATH: OURS };
  const answer = await bed.call(OURS, plugin, "", input, { env: here });
  expect(answer.status).toBe(status);
  expect(normalised(answer.output.trim())).toEqual(normalised(output));
});

test("nothing of the pod is left after the last call", async () => {
  expect(await bed.reservations()).toBe("");
  expect(await bed.node.succeed("nft", ["list", "ruleset"])).not.toMatch(/8081|10\.244\.0\.2/);
  expect(await bed.pod.json("ip", ["-j", "link", "show"])).toHaveLength(1);
});
