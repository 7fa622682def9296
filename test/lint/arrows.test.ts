/**
 * The linter enforces the table of hack/lint/rooms.ts: this test plants files that violate it in an empty tree, and the
 * linter must reject them. Each room gets files that import every other room; `PLANTED` has the cases that the table
 * does not cover.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOMS, type Room } from "../../hack/lint/rooms.ts";

const importing = (target: string) => `import { x } from "${target}";\nexport const y = [x];\n`;

/** The rule that rejects each file; undefined if the file is allowed. */
const PLANTED: readonly (readonly [path: string, source: string, rule: string | undefined])[] = [
  ["pkg/sys/a.ts", importing("../netlink/link.ts"), "noRestrictedImports"],
  ["pkg/ip/a.ts", importing("../netlink/link.ts"), "noRestrictedImports"],
  ["pkg/netlink/a.ts", importing("../kernel/link.ts"), "noRestrictedImports"],
  ["pkg/dbus/a.ts", importing("../netlink/link.ts"), "noRestrictedImports"],
  ["pkg/dbus/b.ts", importing("../sys/errors.ts"), undefined],
  ["pkg/kernel/a.ts", importing("../backend/node.ts"), "noRestrictedImports"],
  ["pkg/kernel/b.ts", importing("../cni/errors.ts"), "noRestrictedImports"],
  ["pkg/nft/a.ts", importing("../backend/node.ts"), "noRestrictedImports"],
  ["pkg/cni/a.ts", importing("../../plugins/bridge/main.ts"), "noRestrictedImports"],
  ["pkg/backend/a.ts", importing("../cluster/node/node.ts"), "noRestrictedImports"],
  ["pkg/ipam/a.ts", importing("../backend/node.ts"), "noRestrictedImports"],
  ["pkg/cluster/a.ts", importing("../../daemon/loop.ts"), "noRestrictedImports"],
  ["plugins/x/b.ts", importing("../../daemon/loop.ts"), "noRestrictedImports"],
  ["daemon/c.ts", importing("../plugins/bridge/main.ts"), "noRestrictedImports"],
  ["pkg/ipam/d.ts", importing("../sys/node.ts"), "noRestrictedImports"],
  ["pkg/cni/c.ts", importing("../sys/quickjs.ts"), "noRestrictedImports"],
  ["daemon/d.ts", importing("../pkg/sys/node.ts"), undefined],
  ["plugins/x/main.ts", importing("../../pkg/sys/quickjs.ts"), "noRestrictedImports"],
  ["plugins/x/c.ts", importing("../y/main.ts"), "noRestrictedImports"],
  ["plugins/x/d.ts", importing("../../pkg/attachment/owner.ts"), undefined],
  ["pkg/attachment/a.ts", importing("../backend/node.ts"), "noRestrictedImports"],
  ["pkg/backend/c.ts", importing("../attachment/owner.ts"), "noRestrictedImports"],
  ["pkg/attachment/b.ts", importing("../cni/errors.ts"), undefined],
  ["pkg/backend/b.ts", importing("../kernel/link.ts"), undefined],
  ["pkg/kernel/c.ts", importing("../netlink/link.ts"), undefined],
  ["daemon/a.ts", importing("../pkg/backend/node.ts"), undefined],
  ["pkg/tables/a.ts", "export const x = Buffer;\n", "noRestrictedGlobals"],
  ["pkg/nft/b.ts", importing("node:fs"), "noNodejsModules"],
  ["pkg/tables/b.ts", importing("../foreign/forward-chains.ts"), undefined],
  ["pkg/foreign/a.ts", importing("../tables/firewall.ts"), "noRestrictedImports"],
  ["pkg/kernel/d.ts", importing("../reconcile/route-plan.ts"), "noRestrictedImports"],
  ["pkg/nft/c.ts", importing("../footprint.ts"), undefined],
  ["daemon/core/a.ts", importing("../weftd.ts"), "noRestrictedImports"],
  ["daemon/core/drivers/b.ts", importing("../../controllers/facts.ts"), "noRestrictedImports"],
  ["daemon/sources/a.ts", importing("../controllers/peers/peer.ts"), "noRestrictedImports"],
  ["daemon/controllers/x/a.ts", importing("../y/b.ts"), "noRestrictedImports"],
  ["daemon/controllers/x/b.ts", importing("../facts.ts"), undefined],
  ["daemon/controllers/x/c.ts", importing("../../core/loop.ts"), undefined],
  ["pkg/netlink/b.ts", "export const x = Buffer;\n", "noRestrictedGlobals"],
  ["pkg/cni/b.ts", "export const x = process;\n", "noRestrictedGlobals"],
  ["pkg/ipam/b.ts", "export const x = setTimeout;\n", "noRestrictedGlobals"],
  ["plugins/x/a.ts", "export const x = fetch;\n", "noRestrictedGlobals"],
  ["pkg/ipam/c.ts", importing("node:fs"), "noNodejsModules"],
  [
    "daemon/b.ts",
    "async function work(): Promise<void> {}\nexport function f(): void {\n  work();\n}\n",
    "noFloatingPromises",
  ],
];

/** A source of each room, existing or not. */
const sampleOf = ({ path }: Pick<Room, "path">, name: string) =>
  path.replace("/*.ts", `/${name}.ts`).replace(/\/\*$/, "/some") + (path.endsWith(".ts") ? "" : `/${name}.ts`);

/** Sources that import all other rooms, one line for each. */
const IMPORTING_ALL = ROOMS.flatMap((room) => {
  const others = ROOMS.filter((other) => other !== room);
  const files = room.path.endsWith(".ts")
    ? [sampleOf(room, "all")]
    : [sampleOf(room, "all"), sampleOf(room, "deeper/all"), sampleOf(room, "deeper/still/all")];
  return files.map((file) => {
    const paths = others.map((other) => relative(dirname(file), sampleOf(other, "some")).replace(/^[^.]/, "./$&"));
    const lines = paths.map((path, at) => `import { x as x${at} } from "${path}";`);
    return {
      file,
      room,
      others,
      source: `${lines.join("\n")}\nexport const all = [${paths.map((_, at) => `x${at}`)}];\n`,
    };
  });
});

const BIOME = resolve("node_modules/.bin/biome");
let findings = "";
let tree = "";

beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), "weft-arrows-"));
  const configuration = JSON.parse(readFileSync("biome.json", "utf8"));
  writeFileSync(join(tree, "biome.json"), JSON.stringify({ ...configuration, vcs: { enabled: false } }));
  copyFileSync("biome.rooms.json", join(tree, "biome.rooms.json"));
  for (const [path, source] of [...PLANTED, ...IMPORTING_ALL.map(({ file, source }) => [file, source] as const)]) {
    mkdirSync(join(tree, dirname(path)), { recursive: true });
    writeFileSync(join(tree, path), source);
  }
  const lint = spawnSync(BIOME, ["lint", "--colors=off", "--reporter=github", "--max-diagnostics=none", "."], {
    cwd: tree,
    encoding: "utf8",
  });
  findings = lint.stdout + lint.stderr;
});

afterAll(() => rmSync(tree, { recursive: true, force: true }));

describe.each(IMPORTING_ALL)("$file", ({ file, room, others }) => {
  test("may import what the table allows, and nothing else", () => {
    // The linter reports in no defined order.
    const refused = findings
      .split("\n")
      .filter((line) => line.includes("/noRestrictedImports,") && line.includes(`/${file},`))
      .map((line) => others[Number(/,line=(\d+),/.exec(line)?.[1]) - 1]?.path);
    const wanted = others.map(({ path }) => path).filter((path) => !room.mayImport.includes(path));
    expect(refused.sort()).toEqual(wanted.sort());
  });
});

test.each(PLANTED)("%s with %j: %s", (path, _source, rule) => {
  const errors = findings.split("\n").filter((line) => line.startsWith("::error") && line.includes(`/${path},`));
  if (rule === undefined) expect(errors).toEqual([]);
  else expect(errors).toEqual([expect.stringContaining(rule)]);
});
