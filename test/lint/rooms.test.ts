/** The linter's rules for imports match the table in hack/lint/rooms.ts, and every source is in one of its rooms. */
import { globSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { importsOf, ROOMS, roomOf, roomsConfiguration } from "../../hack/lint/rooms.ts";

const ROOT = join(import.meta.dirname, "../..");

test("biome.rooms.json matches the table (`npm run rooms` writes it)", async () => {
  await expect(roomsConfiguration()).toMatchFileSnapshot(join(ROOT, "biome.rooms.json"));
});

test("every source is in a room", () => {
  const files = globSync("{pkg,plugins,command,daemon}/**/*.ts", { cwd: ROOT });
  expect(files.filter((file) => roomOf(file) === undefined)).toEqual([]);
});

test("every room has sources", () => {
  const files = globSync("{pkg,plugins,command,daemon}/**/*.ts", { cwd: ROOT });
  const rooms = new Set(files.map((file) => roomOf(file)?.path));
  expect(ROOMS.filter(({ path }) => !rooms.has(path))).toEqual([]);
});

test("what a room may import are rooms", () => {
  const paths = ROOMS.map(({ path }) => path);
  expect(ROOMS.flatMap(({ mayImport }) => mayImport).filter((path) => !paths.includes(path))).toEqual([]);
});

test.each([
  ["pkg/kernel", "pkg/ip", ["../kernel/**", "../../kernel/**", "../../../kernel/**"]],
  [
    "pkg/footprint.ts",
    "plugins/*",
    ["../../pkg/footprint.ts", "../../../pkg/footprint.ts", "../../../../pkg/footprint.ts"],
  ],
  ["daemon/core", "daemon/controllers/*", ["../../core/**", "../../../core/**", "../../../../core/**"]],
  ["daemon/controllers/*", "daemon/core", ["../controllers/**", "../../controllers/**", "../../../controllers/**"]],
  ["daemon/*.ts", "daemon/core", ["../*.ts", "../../*.ts", "../../../*.ts"]],
  ["daemon/core", "daemon/*.ts", ["./core/**"]],
  ["daemon/weftd.ts", "daemon/main.ts", ["./weftd.ts"]],
])("%s, imported in %s, looks like %j", (to, from, expected) => {
  expect(importsOf(to, from)).toEqual(expected);
});

test.each([
  ["daemon/weftd.ts", "daemon/weftd.ts"],
  ["daemon/loop.ts", "daemon/*.ts"],
  ["daemon/core/health.ts", "daemon/core"],
  ["plugins/bridge/add.ts", "plugins/*"],
  ["pkg/nothing/a.ts", undefined],
])("%s is in the room %s", (file, path) => {
  expect(roomOf(file)?.path).toBe(path);
});
