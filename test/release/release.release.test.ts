/**
 * Runs hack/release twice from one commit with newly made prerequisites: in another folder, later, and with another
 * umask, locale, time zone, home and host name. Both give identical bytes, and the released files work.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TARGETS } from "../../hack/compile/target.ts";

const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
const root = mkdtempSync(`${tmpdir()}/weft-release-`);
const first = `${root}/one`;
const second = `${root}/a folder/of another length`;

afterAll(() => rmSync(root, { recursive: true, force: true }), 300_000);

function sh(script: string, folder: string, env: Readonly<Record<string, string>> = {}): string {
  return execFileSync("sh", ["-euc", script], { cwd: folder, encoding: "utf8", env: { ...process.env, ...env } });
}

function clone(from: string, folder: string): void {
  mkdirSync(folder, { recursive: true });
  execFileSync("git", ["clone", "--quiet", "--no-hardlinks", from, folder]);
}

const released = (folder: string) => `${folder}/dist/release`;

/** Each file of a tarball with its digest: shows where two tarballs differ. */
function contentOf(tarball: string): string[] {
  const folder = mkdtempSync(`${root}/content-`);
  sh(`tar -xzf "${tarball}"`, folder);
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => {
      const status = statSync(`${folder}/${name}`);
      const digest = status.isFile()
        ? createHash("sha256")
            .update(readFileSync(`${folder}/${name}`))
            .digest("hex")
        : "";
      return `${name} ${status.mode.toString(8)} ${status.isFile() ? status.mtimeMs : ""} ${digest}`;
    });
}

beforeAll(() => {
  clone(process.cwd(), first);
  sh("hack/release", first);
  // The same commit, even if another one was made meanwhile.
  clone(first, second);
  mkdirSync(`${root}/home`);
  const npmrc = `${homedir()}/.npmrc`;
  sh('umask 077; exec unshare --uts sh -c "hostname elsewhere; exec hack/release"', second, {
    HOME: `${root}/home`,
    USER: "somebody",
    LANG: "tr_TR.UTF-8",
    LC_ALL: "C",
    TZ: "Pacific/Kiritimati",
    TMPDIR: `${root}/home`,
    ...(existsSync(npmrc) ? { NPM_CONFIG_USERCONFIG: npmrc } : {}),
  });
}, 1_800_000);

test("both have the same files", () => {
  const names = TARGETS.flatMap(({ arch }) => [
    `weft-${version}-linux-${arch}.cdx.json`,
    `weft-${version}-linux-${arch}.tgz`,
  ]);
  for (const folder of [first, second]) {
    expect(readdirSync(released(folder)).sort()).toEqual(["SHA256SUMS", ...names].sort());
    expect(sh("sha256sum --check --strict SHA256SUMS", released(folder)).match(/: OK$/gm)).toHaveLength(names.length);
  }
});

describe.each(TARGETS)("$arch", ({ arch, emulator }) => {
  const name = `weft-${version}-linux-${arch}`;

  test("is identical byte by byte", () => {
    expect(contentOf(`${released(second)}/${name}.tgz`)).toEqual(contentOf(`${released(first)}/${name}.tgz`));
    for (const file of [`${name}.tgz`, `${name}.cdx.json`]) {
      const [one, other] = [first, second].map((folder) => readFileSync(`${released(folder)}/${file}`));
      expect(one?.equals(other ?? Buffer.alloc(0)), file).toBe(true);
    }
  });

  test("unpacked, every plugin is the same file, and answers", () => {
    const folder = mkdtempSync(`${root}/unpacked-`);
    sh(`tar -xzf "${released(first)}/${name}.tgz" --strip-components=1`, folder);
    const plugins = readdirSync(`${folder}/bin`).filter((file) => file !== "weft" && file !== "weftd");
    expect(plugins.sort()).toEqual(readdirSync("plugins").sort());
    const { ino } = statSync(`${folder}/bin/weft`);
    for (const plugin of plugins) expect(statSync(`${folder}/bin/${plugin}`).ino, plugin).toBe(ino);
    const [command = "", ...args] = [...emulator, `${folder}/bin/weft`, "bridge"];
    const { status, stdout } = spawnSync(command, args, {
      input: "{}",
      encoding: "utf8",
      env: { CNI_COMMAND: "VERSION" },
    });
    expect(status).toBe(0);
    expect(JSON.parse(stdout).supportedVersions).toContain("1.1.0");
    const [program = "", ...words] = [...emulator, `${folder}/bin/weft`, "--version"];
    const commit = sh("git rev-parse HEAD", first).trim();
    expect(execFileSync(program, words, { encoding: "utf8" })).toContain(`commit ${commit.slice(0, 12)}`);
    expect(readFileSync(`${folder}/LICENSE`)).toEqual(readFileSync("LICENSE"));
  });

  test("the bill of materials is valid, and names the linked and bundled components", async () => {
    const text = readFileSync(`${released(first)}/${name}.cdx.json`, "utf8");
    expect(await new Validation.JsonStrictValidator(Spec.Spec1dot6.version).validate(text)).toBeNull();
    const { components } = JSON.parse(text) as { components: { name: string; version: string; purl: string }[] };
    const of = (wanted: RegExp) => components.find((one) => wanted.test(one.name));
    expect(of(/^quickjs$/)?.purl).toMatch(/^pkg:deb\/debian\/quickjs@\d{4}\./);
    expect(of(/^musl-dev$/)?.version).toMatch(/^1\./);
    expect(of(/^libgcc-\d+-dev/)).toBeDefined();
    const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as {
      packages: Record<string, { version: string }>;
    };
    for (const library of ["ip-address", "commander", "pino", "prom-client", "@kubernetes/client-node"])
      expect(components.find((one) => one.name === library)?.version, library).toBe(
        lock.packages[`node_modules/${library}`]?.version,
      );
    const notices = sh(`tar -xzOf "${released(first)}/${name}.tgz" "${name}/THIRD-PARTY-LICENSES"`, root);
    for (const component of components) expect(notices).toContain(`\n${component.name} ${component.version}\n`);
  });
});

test("a tree with uncommitted files is not released", () => {
  writeFileSync(`${first}/pkg/stray.ts`, "");
  const { status, stderr } = spawnSync("hack/release", { cwd: first, encoding: "utf8" });
  rmSync(`${first}/pkg/stray.ts`);
  expect(status).toBe(1);
  expect(stderr).toContain("pkg/stray.ts");
  expect(existsSync(`${released(first)}/SHA256SUMS`)).toBe(true);
});
