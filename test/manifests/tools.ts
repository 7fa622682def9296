/** The real kubectl (including kustomize) and helm, which `hack/setup kubectl` installs below .cache. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type KubeObject, parseObjects } from "./objects.ts";

const ROOT = resolve(new URL("../..", import.meta.url).pathname);
const TOOLS = `${ROOT}/.cache/kubectl`;
export const CONF = `${ROOT}/conf`;

/** The output for a folder of `conf`, or for one by its absolute path, as text. */
export function kustomize(folder: string): string {
  return run("kubectl", ["kustomize", resolve(CONF, folder)]);
}

/** The same, as objects. */
export function kustomizeObjects(folder: string): readonly KubeObject[] {
  return parseObjects(kustomize(folder));
}

export interface HelmOutcome {
  readonly isGood: boolean;
  /** Standard output, or the error text. */
  readonly text: string;
}

export function helm(...args: readonly string[]): HelmOutcome {
  const { status, stdout, stderr } = spawnSync(tool("helm"), args, { encoding: "utf8", env: environment() });
  return { isGood: status === 0, text: status === 0 ? stdout : `${stdout}${stderr}` };
}

function run(name: string, args: readonly string[]): string {
  return execFileSync(tool(name), args, { encoding: "utf8", env: environment() });
}

/** Without the machine's kubeconfig, plugins or caches. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH ?? "", HOME: `${TOOLS}/home`, KUBECONFIG: "/dev/null" };
}

function tool(name: string): string {
  const path = `${TOOLS}/${name}`;
  if (!existsSync(path)) throw new Error(`${path} is missing: run hack/setup kubectl`);
  return path;
}
