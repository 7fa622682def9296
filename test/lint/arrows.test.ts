/** The linter holds the arrows of ARCHITECTURE.md: a file that breaks one is planted, and must be refused. */
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

/** Lints `source` as if it stood at `path`. */
function lint(path: string, source: string): string {
  const { stdout, stderr } = spawnSync(
    "node_modules/.bin/biome",
    ["lint", "--colors=off", "--reporter=github", `--stdin-file-path=${path}`],
    { input: source, encoding: "utf8" },
  );
  return stdout + stderr;
}

test.each([
  ["pkg/sys/planted.ts", "../netlink/link.ts"],
  ["pkg/netlink/planted.ts", "../kernel/link.ts"],
  ["pkg/ip/planted.ts", "../netlink/link.ts"],
  ["pkg/kernel/planted.ts", "../backend/node.ts"],
  ["pkg/kernel/nft/planted.ts", "../../backend/node.ts"],
  ["pkg/kernel/planted.ts", "../cni/errors.ts"],
  ["pkg/cni/planted.ts", "../../plugins/bridge/bridge.ts"],
  ["pkg/backend/planted.ts", "../cluster/node.ts"],
  ["pkg/ipam/planted.ts", "../backend/node.ts"],
  ["pkg/cluster/planted.ts", "../../daemon/loop.ts"],
])("%s may not import %s", (path, target) => {
  expect(lint(path, `export { x } from "${target}";\n`)).toContain("noRestrictedImports");
});

test.each([
  ["pkg/backend/planted.ts", "../kernel/link.ts"],
  ["pkg/kernel/planted.ts", "../netlink/link.ts"],
  ["daemon/planted.ts", "../pkg/backend/node.ts"],
])("%s may import %s", (path, target) => {
  expect(lint(path, `export { x } from "${target}";\n`)).not.toContain("noRestrictedImports");
});

test.each(["Buffer", "process", "setTimeout", "fetch"])("%s is refused where QuickJS runs the code", (name) => {
  expect(lint("pkg/netlink/planted.ts", `export const x = ${name};\n`)).toContain("noRestrictedGlobals");
});

test("Node's modules are refused where QuickJS runs the code", () => {
  expect(lint("pkg/ipam/planted.ts", 'export { readFileSync } from "node:fs";\n')).toContain("noNodejsModules");
});

test("a forgotten promise is refused", () => {
  expect(lint("daemon/planted.ts", "async function work(): Promise<void> {}\nwork();\n")).toContain("noFloatingPromises");
});
