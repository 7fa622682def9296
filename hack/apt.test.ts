/** The set-up's reading of a machine's apt sources: hack/apt.sh, in the shell that runs it. */
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

/** What may be the Debian archive of a bookworm whose /etc/apt holds these files. */
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

test("one line a source: the release's archive, neither its security nor its sources", () => {
  expect(archivesOf({ "sources.list": LINES })).toEqual(["http://mirror.example/debian -"]);
});

test("options of a line give its keys", () => {
  const line = "deb [ arch=amd64 signed-by=/etc/apt/keyrings/house.gpg ] http://mirror.example/debian/ bookworm main\n";
  expect(archivesOf({ "sources.list.d/house.list": line })).toEqual([
    "http://mirror.example/debian/ /etc/apt/keyrings/house.gpg",
  ]);
});

test("a paragraph a source, with comments inside: the same", () => {
  expect(archivesOf({ "sources.list.d/debian.sources": PARAGRAPHS })).toEqual([
    "http://mirror.example/debian /usr/share/keyrings/debian-archive-keyring.gpg",
  ]);
});

test("several addresses on lines of their own, and keys written out in place", () => {
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

test("a source that is switched off is left out", () => {
  expect(archivesOf({ "sources.list.d/a.sources": `Enabled: no\n${PARAGRAPHS}` })).toEqual([]);
});

test("others who publish for the release come after what looks like Debian's, or not at all", () => {
  const others = `deb https://tools.example bookworm main
deb https://containers.example/linux/debian bookworm stable
deb https://runtime.example/node_20.x nodistro main
`;
  expect(archivesOf({ "sources.list.d/0.list": others, "sources.list.d/debian.sources": PARAGRAPHS })).toEqual([
    "http://mirror.example/debian /usr/share/keyrings/debian-archive-keyring.gpg",
    "https://tools.example -",
  ]);
});

test("files that end without a line's end, and files of comments alone, take nothing from the next", () => {
  const line = "deb http://mirror.example/debian bookworm main";
  expect(
    archivesOf({ "sources.list": "# moved", "sources.list.d/a.list": `${line} `, "sources.list.d/b.list": line }),
  ).toEqual(["http://mirror.example/debian -"]);
  expect(
    archivesOf({ "sources.list.d/0.sources": "# nothing", "sources.list.d/1.sources": PARAGRAPHS.trimEnd() }),
  ).toHaveLength(1);
});

test("a cloud image's list of mirrors is an archive like another", () => {
  const paragraph = PARAGRAPHS.replaceAll("http://mirror.example/", "mirror+file:///etc/apt/mirrors/").replaceAll(
    /^URIs.*$/gm,
    "$&.list",
  );
  expect(archivesOf({ "sources.list.d/debian.sources": paragraph })).toEqual([
    "mirror+file:///etc/apt/mirrors/debian.list /usr/share/keyrings/debian-archive-keyring.gpg",
  ]);
});

test("a machine without any source has no archive", () => {
  expect(archivesOf({})).toEqual([]);
});

describe("beside another apt-get", () => {
  /** Runs `apt_in_turn` with an apt-get that fails `failures` times with `words`; returns status, calls, and what was said. */
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

  test("it is waited for, and that is said once", () => {
    expect(inTurn(3, LOCKED)).toEqual({
      status: 0,
      calls: Array(4).fill("install -y thing"),
      said: "setup: waiting for another apt-get to end ...\n",
    });
  });

  test("the waiting ends", () => {
    expect(inTurn(99, LOCKED)).toMatchObject({ status: 100, calls: { length: 5 } });
  });

  test("any other failure ends it at once", () => {
    expect(inTurn(99, "E: Unable to locate package thing")).toMatchObject({
      status: 100,
      calls: { length: 1 },
      said: "",
    });
  });
});
