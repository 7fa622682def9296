/**
 * `weft install` on real file systems: while plugins run, killed, twice at once, on a full disk, from another file
 * system.
 */
import { spawn } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { afterAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { run, succeed } from "./harness/command.ts";
import { makeFolder } from "./harness/folder.ts";
import { OURS, REFERENCE } from "./harness/plugin-bed.ts";

const ROUNDS = 15;
/** Each installation writes megabytes to a disk that may be busy with other work. */
const TORTURE_LIMIT_MS = 240_000;
const CALLERS = 4;

const cleanup = new Cleanup();
afterAll(() => cleanup.run());
const folder = makeFolder("install", cleanup);
const weft = `${OURS}/weft`;
const { buildId, plugins } = JSON.parse(await succeed(weft, ["version", "-o", "json"])) as {
  buildId: string;
  plugins: string[];
};
/** The same code with another build id: as files, an older weft. */
const older = `${folder}/older`;
const olderId = "f".repeat(buildId.length);
writeFileSync(older, Buffer.from(readFileSync(weft, "latin1").replaceAll(buildId, olderId), "latin1"), { mode: 0o755 });

/** The reference plugins, and an unrelated file. */
function referenceFolder(name: string): string {
  const bin = `${folder}/${name}`;
  cpSync(realpathSync(REFERENCE), bin, { recursive: true });
  writeFileSync(`${bin}/calico`, "#!/bin/sh\n", { mode: 0o755 });
  return bin;
}

function expectInstalled(bin: string): void {
  const { ino } = statSync(`${bin}/weft`);
  for (const name of plugins) {
    const status = statSync(`${bin}/${name}`);
    expect({ name, ino: status.ino, mode: status.mode & 0o7777 }).toEqual({ name, ino, mode: 0o755 });
  }
  expect(readFileSync(`${bin}/weft`).equals(readFileSync(weft))).toBe(true);
  expect(readdirSync(bin).filter((name) => name.startsWith(".weft-install"))).toEqual([]);
  expect(readFileSync(`${bin}/dhcp`).equals(readFileSync(`${REFERENCE}/dhcp`))).toBe(true);
  expect(readFileSync(`${bin}/calico`, "utf8")).toBe("#!/bin/sh\n");
  expect(readFileSync(`${bin}/.weft-replaced/bridge`).equals(readFileSync(`${REFERENCE}/bridge`))).toBe(true);
}

test("replaces the reference's files under any umask, and a second call changes nothing", async () => {
  const bin = referenceFolder("umask");
  const first = await succeed("sh", ["-c", `umask 077; exec ${weft} install ${bin}`]);
  expect(first).toMatch(/\nreplaced .*bridge.*portmap/);
  expectInstalled(bin);
  const listing = () =>
    readdirSync(bin, { recursive: true, encoding: "utf8" }).map((name) => {
      const { ino, mode, mtimeMs, ctimeMs } = statSync(`${bin}/${name}`);
      return { name, ino, mode, mtimeMs, ctimeMs };
    });
  const before = listing();
  expect(await succeed(`${bin}/weft`, ["install", bin])).toMatch(/already; nothing to do\.\n$/);
  expect(listing()).toEqual(before);
});

test(
  "a plugin is a complete file at any moment while installations of two builds alternate and are killed",
  async () => {
    const bin = referenceFolder("torture");
    await succeed(older, ["install", bin]);
    let isOver = false;
    let calls = 0;
    const failures: string[] = [];
    const caller = async (name: string) => {
      while (!isOver) {
        const { status, stdout, stderr } = await run(`${bin}/${name}`, [], { env: { CNI_COMMAND: "VERSION" } }).catch(
          (error) => ({
            ...{ status: -1, stdout: "" },
            stderr: String(error),
          }),
        );
        if (status !== 0 || !stdout.includes("supportedVersions")) failures.push(`${name}: ${status} ${stderr}`);
        calls++;
      }
    };
    const callers = Array.from({ length: CALLERS }, (_, at) => caller(plugins[at * 4] ?? "bridge"));
    for (let round = 0; round < ROUNDS; round++) {
      await Promise.all([installOrDie(older, bin), installOrDie(weft, bin), installOrDie(weft, bin)]);
    }
    expect(await succeed(weft, ["install", bin])).toContain(bin);
    isOver = true;
    await Promise.all(callers);
    expect(failures).toEqual([]);
    expect(calls).toBeGreaterThan(ROUNDS);
    expectInstalled(bin);
  },
  TORTURE_LIMIT_MS,
);

/** Two of three installations are killed at a random moment of their usual duration. */
function installOrDie(file: string, bin: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, ["install", bin], { stdio: ["ignore", "ignore", "pipe"] });
    let complaint = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaint += text;
    });
    const timer = Math.random() < 2 / 3 ? setTimeout(() => child.kill("SIGKILL"), Math.random() * 60) : undefined;
    child.on("error", reject);
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      if (status === 0 || signal === "SIGKILL") resolve();
      else reject(new Error(`${file} install: ${status} ${complaint}`));
    });
  });
}

test("reports a full disk and leaves the directory unchanged; with enough space, installs from another file system", async () => {
  const script = `
    set -eu
    mkdir -p ${folder}/small
    mount -t tmpfs -o size=2m none ${folder}/small
    printf foreign > ${folder}/small/bridge
    status=0
    ${weft} install ${folder}/small || status=$?
    echo "status $status"
    [ "$(ls -A ${folder}/small)" = bridge ]
    [ "$(cat ${folder}/small/bridge)" = foreign ]
    mount -o remount,size=16m ${folder}/small
    ${weft} install ${folder}/small
    [ "$(cat ${folder}/small/.weft-replaced/bridge)" = foreign ]
    [ ${folder}/small/bridge -ef ${folder}/small/weft ]
    CNI_COMMAND=VERSION ${folder}/small/bridge >/dev/null
    mount -o remount,ro ${folder}/small
    ${weft} install ${folder}/small
    ${older} install ${folder}/small || echo "status $?"`;
  const { stdout, stderr, status } = await run("unshare", ["--mount", "sh", "-c", script]);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  expect(stderr).toMatch(/weft install: cannot install into \S+: write \S+: no space left \(ENOSPC\)\nFree some space/);
  expect(stderr).toMatch(/read-only file system \(EROFS\)\nOn some systems/);
  expect(stdout).toMatch(/^status 1\n[\s\S]*nothing to do\.\nstatus 1\n$/);
});

test("keeps an operator's copy and symbolic link; removes a link to the older build if its name is not a plugin's", async () => {
  const bin = referenceFolder("backups");
  await succeed(older, ["install", bin]);
  copyFileSync(`${bin}/weft`, `${bin}/weft-1.0.bak`);
  symlinkSync("weft", `${bin}/my-weft`);
  linkSync(`${bin}/weft`, `${bin}/retired`);
  const others = () => readdirSync(bin).filter((name) => ["weft-1.0.bak", "my-weft", "retired"].includes(name));
  await succeed(weft, ["install", bin, "--only", "bridge"]);
  expect(others().sort()).toEqual(["my-weft", "retired", "weft-1.0.bak"]);
  await succeed(older, ["install", bin]);
  linkSync(`${bin}/weft`, `${bin}/retired2`);
  expect(await succeed(weft, ["install", bin])).toMatch(/\nremoved +retired2\n/);
  expect(others().sort()).toEqual(["my-weft", "retired", "weft-1.0.bak"]);
  expectInstalled(bin);
});

test("a running executable whose file was removed can still install itself", async () => {
  const bin = `${folder}/removed`;
  mkdirSync(bin);
  copyFileSync(weft, `${folder}/gone`);
  const script = `exec 9<${folder}/gone; rm ${folder}/gone; exec /proc/self/fd/9 install ${bin}`;
  await succeed("bash", ["-c", script]);
  expect(readFileSync(`${bin}/weft`).equals(readFileSync(weft))).toBe(true);
});
