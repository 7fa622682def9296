/** Makes a tarball that depends only on its files' names and content. */

import { spawn } from "node:child_process";
import { createWriteStream, readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";

/**
 * Packs `folder` under its own name. Hard links are preserved: `weft` comes before its links and has the content.
 * `modifiedAt` is the time of every file, in seconds since 1970.
 */
export async function packTarball(folder: string, path: string, modifiedAt: number): Promise<void> {
  const name = basename(folder);
  const tar = spawn(
    "tar",
    [
      ...["--create", "--format=ustar", "--owner=root:0", "--group=root:0", "--mode=u+rw,go-w,a+rX"],
      ...[`--mtime=@${modifiedAt}`, "--no-recursion", "--directory", dirname(folder)],
      name,
      ...entries(folder).map((entry) => `${name}/${entry}`),
    ],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, TAR_OPTIONS: "" } },
  );
  const ended = new Promise<number | null>((resolve, reject) => tar.on("error", reject).on("close", resolve));
  // Node.js's gzip writes no time into the header.
  await pipeline(tar.stdout, createGzip({ level: 9 }), createWriteStream(path));
  const status = await ended;
  if (status !== 0) throw new Error(`tar ended with status ${status}: ${path} is incomplete`);
}

/** Returns every file and folder, each folder before its content, and `bin/weft` before its links. */
function entries(folder: string): string[] {
  const place = (entry: string) => (entry === "bin/weft" ? "bin/" : entry);
  const all = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return all.sort((one, other) => (place(one) < place(other) ? -1 : 1));
}
