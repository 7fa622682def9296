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

/** As the reference plugins' package leaves it, and a stranger's. */
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

test("an empty machine gets the file once, with a link for each plugin, executable by all", () => {
  const files = machine();
  expect(weft(files, `install ${DIR}/`).status).toBe(0);
  expect(seen(files)).toEqual({ weft: "new", bridge: "new", ptp: "new", vxlan: "new" });
  const statuses = files.readDirectory(DIR).map((name) => files.status(`${DIR}/${name}`));
  expect(new Set(statuses.map((status) => status?.inode)).size).toBe(1);
  expect(statuses[0]?.mode).toBe(0o755);
});

test("the reference's files are replaced and kept; strangers are not touched", () => {
  const files = withReference(machine());
  const { output } = weft(files, `install ${DIR}`);
  expect(seen(files)).toEqual(INSTALLED);
  expect(output).toContain("added     weft, ptp, vxlan\nreplaced  bridge\n");
  expect(output).toContain(`The files that were replaced are in ${DIR}/.weft-replaced.`);
});

test("the same again does nothing, and says so", () => {
  const files = withReference(machine());
  weft(files, `install ${DIR}`);
  const before = files.snapshot();
  files.fault = (call, path) =>
    ["rename", "link", "unlink", "fsync"].includes(call) || path.includes("-install-") ? 30 : undefined;
  const again = weft(files, `install ${DIR}`);
  expect(again.errorOutput).toBe("");
  expect(again.output).toBe(`${DIR} has weft 1.2.3 (build new) already: nothing to do.\n`);
  expect(files.snapshot()).toEqual(before);
});

test("a dry run says what would be done, and does none of it", () => {
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

test("an older build is updated, and its links under other names go", () => {
  const files = withReference(machine(OLD));
  const old = { ...build, id: "old", pluginNames: ["bridge", "ptp", "retired"] };
  runCommand(new FakeSystem({ args: ["weft", "install", DIR], files }), old);
  files.writeFile("/proc/self/exe", NEW);
  const { data } = weft(files, `install ${DIR} -o json`);
  expect(seen(files)).toEqual(INSTALLED);
  expect(data().files).toContainEqual({ name: "retired", action: "remove" });
});

/** With a name that is no plugin's any more, and an operator's copy. */
function withOlder(): FakeFiles {
  const files = withReference(machine(OLD));
  const old = { ...build, id: "old", pluginNames: ["bridge", "ptp", "retired"] };
  runCommand(new FakeSystem({ args: ["weft", "install", DIR], files }), old);
  files.writeFile(`${DIR}/weft-1.0.bak`, OLD, { mode: 0o755 });
  files.writeFile("/proc/self/exe", NEW);
  return files;
}

test("an operator's copy of an older build stays; with --only its links under other names, too", () => {
  const files = withOlder();
  weft(files, `install ${DIR} --only ptp`);
  expect(seen(files)).toMatchObject({ weft: "new", ptp: "new", bridge: "old", retired: "old", "weft-1.0.bak": "old" });
  const others = withOlder();
  weft(others, `install ${DIR}`);
  expect(seen(others)).toEqual({ ...INSTALLED, "weft-1.0.bak": "old" });
});

test("another name that an operator has given to the build that is there stays", () => {
  const files = withReference(machine());
  weft(files, `install ${DIR}`);
  files.link(`${DIR}/weft`, `${DIR}/kubectl-weft`);
  expect(weft(files, `install ${DIR}`).output).toContain("nothing to do");
  expect(seen(files)).toEqual({ ...INSTALLED, "kubectl-weft": "new" });
});

test("a symbolic link to an older build stays", () => {
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

test("--keep-existing leaves others' files, --only other plugins", () => {
  const files = withReference(machine());
  expect(weft(files, `install ${DIR} --keep-existing --only bridge,ptp`).output).toContain("left as it is  bridge");
  expect(seen(files)).toEqual({ bridge: "reference bridge", dhcp: "reference dhcp", weft: "new", ptp: "new" });
  expect(weft(files, `install ${DIR} --only brigde`)).toMatchObject({
    status: 2,
    errorOutput: 'weft install: --only: "brigde" is no plugin of this file\nIt has bridge, ptp, vxlan.\n',
  });
});

test.each([
  ["install", ""],
  ["install", DIR, "--only", ""],
  ["install", DIR, "--only", ","],
])("what a script left empty changes nothing: %s", (...args) => {
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

test("a file of another mode is made anew", () => {
  const files = machine();
  weft(files, `install ${DIR}`);
  files.setMode(`${DIR}/weft`, 0o700);
  weft(files, `install ${DIR}`);
  expect(files.status(`${DIR}/bridge`)?.mode).toBe(0o755);
});

test("a directory in a plugin's place is an obstacle: nothing is changed", () => {
  const files = withReference(machine());
  files.makeDirectory(`${DIR}/vxlan`);
  const before = files.snapshot();
  expect(weft(files, `install ${DIR}`)).toMatchObject({
    status: 3,
    errorOutput: expect.stringContaining(`${DIR}/vxlan is not a file`),
  });
  expect(files.snapshot()).toEqual(before);
});

test("where a file has one name alone, each plugin is a copy", () => {
  const files = withReference(machine());
  files.fault = (call) => (call === "link" ? 1 : undefined);
  expect(weft(files, `install ${DIR}`).status).toBe(0);
  files.fault = undefined;
  expect(seen(files)).toEqual(INSTALLED);
  expect(files.status(`${DIR}/ptp`)?.inode).not.toBe(files.status(`${DIR}/weft`)?.inode);
  const before = files.snapshot();
  expect(weft(files, `install ${DIR}`).output).toContain("already: nothing to do");
  files.writeFile(`${DIR}/ptp`, OLD);
  expect(weft(files, `install ${DIR}`).output).toContain("updated  ptp\n");
  expect(files.snapshot()).toEqual(before);
});

/** How many calls that change something an installation makes. */
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
  ["beside the reference's", () => withReference(machine()), INSTALLED, ["new", "reference"]],
  ["over an older build", withOlder, { ...INSTALLED, "weft-1.0.bak": "old" }, ["new", "old", "reference"]],
])("wherever it is killed %s, each name is a whole file, and the next installation puts all right", (...row) => {
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
  ["open", 28, "no space left (ENOSPC)\nMake room"],
  ["link", 28, "no space left (ENOSPC)\nMake room"],
  ["fsync", 5, "input/output error (EIO)\nMend that"],
  ["open", 30, "read-only file system (EROFS)\nSome systems"],
])("%s that fails with %i leaves the directory as it was", (failing, errno, complaint) => {
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
