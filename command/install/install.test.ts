import { expect, test } from "vitest";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { runCommand } from "../main.ts";
import type { BinFile } from "./bin-directory.ts";
import { fakeExecutable } from "./fake-executable.ts";
import { planInstallation } from "./plan.ts";

const DIR = "/opt/cni/bin";
const NEW = fakeExecutable("new");
const OLD = fakeExecutable("old");
const build = { version: "1.2.3", id: "new", commit: "", pluginNames: ["bridge", "ptp", "vxlan"] };
const encode = (text: string) => new TextEncoder().encode(text);

class Killed extends Error {}

function machine(image = NEW): FakeFiles {
  const files = new FakeFiles();
  files.makeDirectory("/proc/self");
  files.writeFile("/proc/self/exe", image);
  return files;
}

/** Adds files as the package of the reference plugins leaves them, and a file of another program. */
function withReference(files: FakeFiles): FakeFiles {
  files.makeDirectory(DIR);
  for (const name of ["bridge", "dhcp"])
    files.writeFile(`${DIR}/${name}`, encode(`reference ${name}`), { mode: 0o755 });
  return files;
}

function weft(files: FakeFiles, words: string, id = "new") {
  const system = new FakeSystem({ args: ["weft", ...words.split(" ")], files });
  const status = runCommand(system, { ...build, id }, undefined);
  return { status, output: system.output, errorOutput: system.errorOutput, data: () => JSON.parse(system.output) };
}

function seen(files: FakeFiles): Record<string, string> {
  const names = (path: string): string[] => (files.status(path) === undefined ? [] : files.readDirectory(path));
  const what = (path: string): string => {
    if (files.status(path)?.kind === "directory") return "directory";
    const text = new TextDecoder().decode(files.readFile(path));
    return text.startsWith("reference") ? text : text.includes("new") ? "new" : "old";
  };
  const found = names(DIR).map((name) => [name, what(`${DIR}/${name}`)]);
  const kept = names(`${DIR}/.weft-replaced`).map((name) => [`kept ${name}`, what(`${DIR}/.weft-replaced/${name}`)]);
  return Object.fromEntries([...found, ...kept]);
}

const INSTALLED = {
  dhcp: "reference dhcp",
  weft: "new",
  bridge: "new",
  ptp: "new",
  vxlan: "new",
  ".weft-replaced": "directory",
  "kept bridge": "reference bridge",
};

test("installs the file once, with a link for each plugin, executable by all users", () => {
  const files = machine();
  expect(weft(files, `install ${DIR}/`).status).toBe(0);
  expect(seen(files)).toEqual({ weft: "new", bridge: "new", ptp: "new", vxlan: "new" });
  const statuses = files.readDirectory(DIR).map((name) => files.status(`${DIR}/${name}`));
  expect(new Set(statuses.map((status) => status?.inode)).size).toBe(1);
  expect(statuses[0]?.mode).toBe(0o755);
});

test("replaces and keeps files of the reference plugins, and leaves other files alone", () => {
  const files = withReference(machine());
  const { output } = weft(files, `install ${DIR}`);
  expect(seen(files)).toEqual(INSTALLED);
  expect(output).toContain("added     weft, ptp, vxlan\nreplaced  bridge\n");
  expect(output).toContain(`Replaced files are kept in ${DIR}/.weft-replaced.`);
});

test("a second installation changes nothing, and says so", () => {
  const files = withReference(machine());
  weft(files, `install ${DIR}`);
  const before = files.snapshot();
  files.fault = (call, path) =>
    ["rename", "link", "unlink", "fsync"].includes(call) || path.includes("-install-") ? 30 : undefined;
  const again = weft(files, `install ${DIR}`);
  expect(again.errorOutput).toBe("");
  expect(again.output).toBe(`${DIR} has weft 1.2.3 (build new) already; nothing to do.\n`);
  expect(files.snapshot()).toEqual(before);
});

test("a dry run prints the changes and makes none", () => {
  const files = withReference(machine());
  const before = files.snapshot();
  const { output, data } = weft(files, `install ${DIR} --dry-run -o json`);
  expect(files.snapshot()).toEqual(before);
  expect(output).not.toBe("");
  expect(data()).toMatchObject({
    dryRun: true,
    changed: true,
    kept: ["bridge"],
    files: [
      { name: "weft", action: "add" },
      { name: "bridge", action: "replace" },
      { name: "ptp", action: "add" },
      { name: "vxlan", action: "add" },
    ],
  });
});

test("updates an older build, and removes its links under other names", () => {
  const files = withReference(machine(OLD));
  const old = { ...build, id: "old", pluginNames: ["bridge", "ptp", "retired"] };
  runCommand(new FakeSystem({ args: ["weft", "install", DIR], files }), old);
  files.writeFile("/proc/self/exe", NEW);
  const { data } = weft(files, `install ${DIR} -o json`);
  expect(seen(files)).toEqual(INSTALLED);
  expect(data().files).toContainEqual({ name: "retired", action: "remove" });
});

/** An older build, with a link whose name is no longer a plugin's, and an operator's copy. */
function withOlder(): FakeFiles {
  const files = withReference(machine(OLD));
  const old = { ...build, id: "old", pluginNames: ["bridge", "ptp", "retired"] };
  runCommand(new FakeSystem({ args: ["weft", "install", DIR], files }), old);
  files.writeFile(`${DIR}/weft-1.0.bak`, OLD, { mode: 0o755 });
  files.writeFile("/proc/self/exe", NEW);
  return files;
}

test("keeps an operator's copy of an older build; with --only also links under other names", () => {
  const files = withOlder();
  weft(files, `install ${DIR} --only ptp`);
  expect(seen(files)).toMatchObject({ weft: "new", ptp: "new", bridge: "old", retired: "old", "weft-1.0.bak": "old" });
  const others = withOlder();
  weft(others, `install ${DIR}`);
  expect(seen(others)).toEqual({ ...INSTALLED, "weft-1.0.bak": "old" });
});

test("keeps another name that an operator gave to the installed build", () => {
  const files = withReference(machine());
  weft(files, `install ${DIR}`);
  files.link(`${DIR}/weft`, `${DIR}/kubectl-weft`);
  expect(weft(files, `install ${DIR}`).output).toContain("nothing to do");
  expect(seen(files)).toEqual({ ...INSTALLED, "kubectl-weft": "new" });
});

test("keeps a symbolic link to an older build", () => {
  const file = (name: string, isSymlink: boolean): [string, BinFile] => [
    name,
    { name, kind: "file", identity: "1:1", isSymlink, mode: 0o755, buildId: "old" },
  ];
  const files = new Map([file("weft", false), file("retired", false), file("my-weft", true)]);
  const observed = { path: DIR, isThere: true, files, replaced: [], unfinished: [] };
  const wanted = { names: [], knownNames: ["bridge"], keepsForeign: false, discards: false };
  expect(planInstallation(observed, wanted, () => false).files).toEqual([
    { name: "weft", action: "update" },
    { name: "retired", action: "remove" },
  ]);
});

test("--keep-existing keeps other programs' files, --only leaves other plugins alone", () => {
  const files = withReference(machine());
  expect(weft(files, `install ${DIR} --keep-existing --only bridge,ptp`).output).toContain("not replaced  bridge");
  expect(seen(files)).toEqual({ bridge: "reference bridge", dhcp: "reference dhcp", weft: "new", ptp: "new" });
  expect(weft(files, `install ${DIR} --only brigde`)).toMatchObject({
    status: 2,
    errorOutput: 'weft install: --only: "brigde" is not a plugin of this file\nIt contains bridge, ptp, vxlan.\n',
  });
});

test.each([
  ["install", ""],
  ["install", DIR, "--only", ""],
  ["install", DIR, "--only", ","],
])("an empty argument changes nothing: %s", (...args) => {
  const files = withReference(machine());
  const before = files.snapshot();
  expect(runCommand(new FakeSystem({ args: ["weft", ...args], files }), build)).toBe(2);
  expect(files.snapshot()).toEqual(before);
});

test("--discard-replaced keeps nothing", () => {
  const files = withReference(machine());
  weft(files, `install ${DIR} --discard-replaced`);
  expect(seen(files)).toEqual({ dhcp: "reference dhcp", weft: "new", bridge: "new", ptp: "new", vxlan: "new" });
});

test("replaces a file with a wrong mode", () => {
  const files = machine();
  weft(files, `install ${DIR}`);
  files.setMode(`${DIR}/weft`, 0o700);
  weft(files, `install ${DIR}`);
  expect(files.status(`${DIR}/bridge`)?.mode).toBe(0o755);
});

test("changes nothing if a plugin's name is a directory", () => {
  const files = withReference(machine());
  files.makeDirectory(`${DIR}/vxlan`);
  const before = files.snapshot();
  expect(weft(files, `install ${DIR}`)).toMatchObject({
    status: 3,
    errorOutput: expect.stringContaining(`${DIR}/vxlan is not a file`),
  });
  expect(files.snapshot()).toEqual(before);
});

test("copies each plugin if the file system has no hard links", () => {
  const files = withReference(machine());
  files.fault = (call) => (call === "link" ? 1 : undefined);
  expect(weft(files, `install ${DIR}`).status).toBe(0);
  files.fault = undefined;
  expect(seen(files)).toEqual(INSTALLED);
  expect(files.status(`${DIR}/ptp`)?.inode).not.toBe(files.status(`${DIR}/weft`)?.inode);
  const before = files.snapshot();
  expect(weft(files, `install ${DIR}`).output).toContain("already; nothing to do");
  files.writeFile(`${DIR}/ptp`, OLD);
  expect(weft(files, `install ${DIR}`).output).toContain("updated  ptp\n");
  expect(files.snapshot()).toEqual(before);
});

/** Counts the changing system calls of an installation. */
function countChanges(files: FakeFiles): number {
  let count = 0;
  files.fault = (call) => {
    if (CHANGING.includes(call)) count++;
    return undefined;
  };
  weft(files, `install ${DIR}`);
  return count;
}

const CHANGING = ["open", "link", "rename", "unlink", "mkdir", "rmdir", "chmod", "fsync"];

test.each<[string, () => FakeFiles, Record<string, string>, string[]]>([
  ["with the reference plugins", () => withReference(machine()), INSTALLED, ["new", "reference"]],
  ["with an older build", withOlder, { ...INSTALLED, "weft-1.0.bak": "old" }, ["new", "old", "reference"]],
])("killed at any change %s: each name is a complete file, and the next installation repairs the rest", (...row) => {
  const [, start, installed, contents] = row;
  const changes = countChanges(start());
  expect(changes).toBeGreaterThan(20);
  for (let dieAt = 1; dieAt <= changes; dieAt++) {
    const files = start();
    let at = 0;
    files.fault = (call) => {
      if (CHANGING.includes(call) && ++at >= dieAt) throw new Killed();
      return undefined;
    };
    weft(files, `install ${DIR}`);
    files.fault = undefined;
    for (const name of ["bridge", "dhcp"]) expect(contents).toContain(seen(files)[name]?.replace(` ${name}`, ""));
    expect(weft(files, `install ${DIR}`).status).toBe(0);
    expect(seen(files), `killed at change ${dieAt}`).toEqual(installed);
  }
});

test.each([
  ["open", 28, "no space left (ENOSPC)\nFree some space"],
  ["link", 28, "no space left (ENOSPC)\nFree some space"],
  ["fsync", 5, "input/output error (EIO)\nFix the cause"],
  ["open", 30, "read-only file system (EROFS)\nOn some systems"],
])("leaves the directory unchanged if %s fails with %i", (failing, errno, complaint) => {
  const files = withReference(machine());
  const before = files.snapshot();
  files.fault = (call, path) => (call === failing && path.includes(".weft-") ? errno : undefined);
  const { status, errorOutput } = weft(files, `install ${DIR}`);
  files.fault = undefined;
  expect(status).toBe(1);
  expect(errorOutput).toContain(`weft install: cannot install into ${DIR}: `);
  expect(errorOutput).toContain(complaint);
  expect(files.snapshot()).toEqual(before);
  expect(files.status(`${DIR}/.weft-replaced`)).toBeUndefined();
});
