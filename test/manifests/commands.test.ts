/** The kubectl commands in remedies and documents name objects that the manifests make. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { nameOf, parseObjects } from "./objects.ts";

const ROOT = join(import.meta.dirname, "../..");
const MADE = new Set(parseObjects(readFileSync(join(ROOT, "conf/weft.yaml"), "utf8")).map(nameOf));
const KINDS: Readonly<Record<string, string>> = {
  ...{ ds: "DaemonSet", daemonset: "DaemonSet", daemonsets: "DaemonSet" },
  ...{ cm: "ConfigMap", configmap: "ConfigMap", namespace: "Namespace", ns: "Namespace" },
};
/**
 * flannel's and kube-proxy's objects, which docs/migration.md and docs/services.md remove, and the Namespace of the recipes
 * in docs/network-policy.md.
 */
const FOREIGN = new Set(["kube-flannel", "kube-flannel-ds", "kube-proxy", "shop"]);

function filesOf(directory: string, extension: string): string[] {
  return readdirSync(join(ROOT, directory), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(extension) && !name.endsWith(".test.ts"))
    .map((name) => join(directory, name));
}

const FILES = [...filesOf("command", ".ts"), ...filesOf("daemon", ".ts"), ...filesOf("docs", ".md"), "README.md"];
const COMMANDS = FILES.flatMap((file) =>
  [...readFileSync(join(ROOT, file), "utf8").matchAll(/\bkubectl (-|[a-z]+ )[^`"'\n)(;,|#]*/g)].map(([command]) => ({
    file,
    command: command.trim(),
  })),
);

/** The objects of a command ("DaemonSet/weft/weftd"), and the files that it reads. */
function subjectsOf(command: string): { readonly objects: string[]; readonly paths: string[] } {
  const words = command.split(/\s+/).slice(1);
  const namespace = /(?:^|\s)(?:-n|--namespace)[ =](\S+)/.exec(command)?.[1];
  const paths = [...command.matchAll(/(?:^|\s)-[fk] (\S+)/g)].flatMap(([, path]) => path ?? []);
  // Objects created by hand are in no manifest.
  if (words.includes("create")) return { objects: [], paths };
  const objects = words.flatMap((word, at): string[] => {
    const [kind = "", name = words[at + 1]] = word.split("/");
    const known = KINDS[kind];
    if (known === undefined || name === undefined || name.startsWith("-") || FOREIGN.has(name)) return [];
    return [known === "Namespace" ? `${known}/${name}` : `${known}/${namespace}/${name}`];
  });
  return { objects, paths };
}

test("there are commands to check", () => {
  const objects = COMMANDS.flatMap(({ command }) => subjectsOf(command).objects);
  expect(objects).toContain("DaemonSet/weft/weftd");
  expect(COMMANDS.map(({ file }) => file)).toContain("command/cleanup/main.ts");
});

test.each(COMMANDS)("$file: $command", ({ command }) => {
  const { objects, paths } = subjectsOf(command);
  expect(objects.filter((object) => !MADE.has(object))).toEqual([]);
  expect(paths.filter((path) => path.startsWith("conf/") && !existsSync(join(ROOT, path)))).toEqual([]);
});
