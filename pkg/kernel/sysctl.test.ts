import { expect, test } from "vitest";
import { SystemError } from "../sys/errors.ts";
import { FakeFiles } from "../sys/fake-files.ts";
import type { Files } from "../sys/system.ts";
import { ensureOptionalSysctl, ensureSysctl, readSysctl } from "./sysctl.ts";

const NAME = ["net", "ipv4", "conf", "cni0.100", "forwarding"];
const PATH = "/proc/sys/net/ipv4/conf/cni0.100/forwarding";
const ABSENT = ["net", "ipv6", "conf", "all", "forwarding"];
const EROFS = 30;

function filesWith(value: string): FakeFiles {
  const files = new FakeFiles();
  files.makeDirectory("/proc/sys/net/ipv4/conf/cni0.100");
  files.writeFile(PATH, new TextEncoder().encode(value));
  return files;
}

/** /proc/sys as an unprivileged container sees it. */
function readOnly(files: FakeFiles): Files {
  return Object.assign(Object.create(files) as FakeFiles, {
    readFile: (path: string) => files.readFile(path),
    writeFile: (path: string) => {
      throw new SystemError("open", path, EROFS);
    },
  });
}

test("keeps the dots of a device's name, and strips the newline of a value", () => {
  expect(readSysctl(filesWith("1\n"), NAME)).toBe("1");
  expect(readSysctl(filesWith("1\n"), ABSENT)).toBeUndefined();
});

test("writes a value that differs", () => {
  const files = filesWith("0\n");
  ensureSysctl(files, NAME, "1");
  expect(readSysctl(files, NAME)).toBe("1");
});

test("does not write a value that is already correct, so /proc/sys may be read-only", () => {
  expect(() => ensureSysctl(readOnly(filesWith("1\n")), NAME, "1")).not.toThrow();
  expect(() => ensureOptionalSysctl(readOnly(filesWith("1\n")), NAME, "1")).not.toThrow();
  expect(() => ensureSysctl(readOnly(filesWith("0\n")), NAME, "1")).toThrow("EROFS");
});

test("throws if a setting cannot be written, and says how to configure the container", () => {
  expect(() => ensureSysctl(readOnly(filesWith("0\n")), NAME, "1")).toThrow(
    /net\.ipv4\.conf\.cni0\.100\.forwarding is 0 and must be 1, but cannot be written \(.*EROFS\).*set net\.ipv4\.conf\.cni0\.100\.forwarding=1 for/,
  );
});

test("ignores an optional setting that cannot be written", () => {
  const files = filesWith("0\n");
  expect(() => ensureOptionalSysctl(readOnly(files), NAME, "1")).not.toThrow();
  expect(readSysctl(files, NAME)).toBe("0");
});

test("accepts a setting that cannot be written if its substitute has the value", () => {
  const all = ["net", "ipv4", "conf", "all", "forwarding"];
  const files = filesWith("0\n");
  expect(() => ensureSysctl(readOnly(files), NAME, "1", all)).toThrow(/set net\.ipv4\.conf\.all\.forwarding=1 for/);
  files.makeDirectory("/proc/sys/net/ipv4/conf/all");
  files.writeFile("/proc/sys/net/ipv4/conf/all/forwarding", new TextEncoder().encode("1\n"));
  expect(() => ensureSysctl(readOnly(files), NAME, "1", all)).not.toThrow();
});

test("throws if the kernel lacks a setting and never creates its file; ignores a missing optional setting", () => {
  const files = filesWith("0\n");
  expect(() => ensureSysctl(files, ABSENT, "1")).toThrow("ENOENT");
  ensureOptionalSysctl(files, ABSENT, "1");
  expect(readSysctl(files, ABSENT)).toBeUndefined();
  ensureOptionalSysctl(files, NAME, "1");
  expect(readSysctl(files, NAME)).toBe("1");
});
