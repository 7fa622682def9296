/** Tests how the set-up reads a machine's apt sources: hack/apt.sh, run by the shell. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-apt-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Returns the possible Debian archives of a bookworm machine whose /etc/apt has these files. */
function archivesOf(files: Readonly<Record<string, string>>): string[] {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, dirname(name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  const script = 'set -eu; cache=/nonexistent; . hack/apt.sh; debian_archives "$1" bookworm';
  return execFileSync("sh", ["-c", script, "sh", folder], { encoding: "utf8" }).split("\n").filter(Boolean);
}

const LINES = `# deb http://commented.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib # the near one
deb-src http://source.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
`;

const PARAGRAPHS = `Types: deb
# Where the image came from
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
`;

test("one-line format: finds the release's archive, without security updates and source packages", () => {
  expect(archivesOf({ "sources.list": LINES })).toEqual(["http://mirror.example/debian -"]);
});

test("reads keys from the options of a line", () => {
  const line = "deb [ arch=amd64 signed-by=/etc/apt/keyrings/house.gpg ] http://mirror.example/debian/ bookworm main\n";
  expect(archivesOf({ "sources.list.d/house.list": line })).toEqual([
    "http://mirror.example/debian/ /etc/apt/keyrings/house.gpg",
  ]);
});

test("deb822 format: finds the same, with comments inside a paragraph", () => {
  expect(archivesOf({ "sources.list.d/debian.sources": PARAGRAPHS })).toEqual([
    "http://mirror.example/debian /usr/share/keyrings/debian-archive-keyring.gpg",
  ]);
});

test("deb822 format: accepts several addresses and embedded keys", () => {
  const paragraph = `types: deb deb-src
uris:
 http://one.example/debian
 http://two.example/debian
suites: stable
components: contrib
 main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY`;
  expect(archivesOf({ "sources.list.d/a.sources": paragraph })).toEqual([
    "http://one.example/debian -",
    "http://two.example/debian -",
  ]);
});

test("skips disabled sources", () => {
  expect(archivesOf({ "sources.list.d/a.sources": `Enabled: no\n${PARAGRAPHS}` })).toEqual([]);
});

test("lists other publishers' sources for the release after Debian's, or not at all", () => {
  const others = `deb https://tools.example bookworm main
deb https://containers.example/linux/debian bookworm stable
deb https://runtime.example/node_20.x nodistro main
`;
  expect(archivesOf({ "sources.list.d/0.list": others, "sources.list.d/debian.sources": PARAGRAPHS })).toEqual([
    "http://mirror.example/debian /usr/share/keyrings/debian-archive-keyring.gpg",
    "https://tools.example -",
  ]);
});

test("accepts files without a final newline, and files with only comments", () => {
  const line = "deb http://mirror.example/debian bookworm main";
  expect(
    archivesOf({ "sources.list": "# moved", "sources.list.d/a.list": `${line} `, "sources.list.d/b.list": line }),
  ).toEqual(["http://mirror.example/debian -"]);
  expect(
    archivesOf({ "sources.list.d/0.sources": "# nothing", "sources.list.d/1.sources": PARAGRAPHS.trimEnd() }),
  ).toHaveLength(1);
});

test("accepts a cloud image's list of mirrors", () => {
  const paragraph = PARAGRAPHS.replaceAll("http://mirror.example/", "mirror+file:///etc/apt/mirrors/").replaceAll(
    /^URIs.*$/gm,
    "$&.list",
  );
  expect(archivesOf({ "sources.list.d/debian.sources": paragraph })).toEqual([
    "mirror+file:///etc/apt/mirrors/debian.list /usr/share/keyrings/debian-archive-keyring.gpg",
  ]);
});

test("finds no archive without sources", () => {
  expect(archivesOf({})).toEqual([]);
});

describe("while another apt-get runs", () => {
  /**
   * Runs `apt_in_turn` with an apt-get that fails `failures` times with `words`. Returns status, calls and messages.
   */
  function inTurn(failures: number, words: string, tries = 5) {
    const calls = join(folder, "calls");
    const script = `#!/bin/sh\necho "$@" >>'${calls}'\n[ "$(wc -l <'${calls}')" -gt ${failures} ] || { echo '${words}' >&2; exit 100; }\n`;
    writeFileSync(join(folder, "apt-get"), script, { mode: 0o755 });
    const { status, output } = spawnSync(
      "sh",
      ["-c", "set -eu; cache=/nonexistent; . hack/apt.sh; apt_in_turn install -y thing"],
      {
        env: { PATH: `${folder}:${process.env.PATH}`, APT_PAUSE: "0", APT_TRIES: String(tries) },
        stdio: ["ignore", "ignore", "pipe", "pipe"],
      },
    );
    return { status, calls: readFileSync(calls, "utf8").trim().split("\n"), said: String(output[3] ?? "") };
  }
  const LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)";

  test("waits, and prints one message", () => {
    expect(inTurn(3, LOCKED)).toEqual({
      status: 0,
      calls: Array(4).fill("install -y thing"),
      said: "setup: waiting for another apt-get to finish ...\n",
    });
  });

  test("stops waiting after a time", () => {
    expect(inTurn(99, LOCKED)).toMatchObject({ status: 100, calls: { length: 5 } });
  });

  test("fails at once on any other error", () => {
    expect(inTurn(99, "E: Unable to locate package thing")).toMatchObject({
      status: 100,
      calls: { length: 1 },
      said: "",
    });
  });
});
