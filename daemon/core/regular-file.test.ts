import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readRegularFile } from "./regular-file.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-regular-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("reads a file, also through a symbolic link", async () => {
  writeFileSync(join(folder, "file"), "text");
  symlinkSync("file", join(folder, "link"));
  expect(await readRegularFile(join(folder, "link"))).toBe("text");
});

test("rejects other kinds of file at once, with path and kind", async () => {
  execFileSync("mkfifo", [join(folder, "fifo")]);
  const server = createServer().listen(join(folder, "socket"));
  await new Promise((resolve) => server.once("listening", resolve));
  try {
    await expect(readRegularFile(folder)).rejects.toThrow(`${folder} is a directory: expected a file`);
    await expect(readRegularFile(join(folder, "fifo"))).rejects.toThrow(`${folder}/fifo is a FIFO: expected a file`);
    await expect(readRegularFile(join(folder, "socket"))).rejects.toThrow(`${folder}/socket is a socket: expected`);
    await expect(readRegularFile("/dev/null")).rejects.toThrow("/dev/null is a device: expected a file");
  } finally {
    server.close();
  }
});

test("rejects a missing file with Node's own error", async () => {
  await expect(readRegularFile(join(folder, "none"))).rejects.toMatchObject({ code: "ENOENT" });
});
