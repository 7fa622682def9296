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

/** What /proc/sys is in a container without privileges. */
function readOnly(files: FakeFiles): Files {
  return Object.assign(Object.create(files) as FakeFiles, {
    readFile: (path: string) => files.readFile(path),
    writeFile: (path: string) => {
      throw new SystemError("open", path, EROFS);
    },
  });
}

test("a device's name keeps its dots, and a value comes without its line's end", () => {
  expect(readSysctl(filesWith("1\n"), NAME)).toBe("1");
  expect(readSysctl(filesWith("1\n"), ABSENT)).toBeUndefined();
});

test("a value that differs is set", () => {
  const files = filesWith("0\n");
  ensureSysctl(files, NAME, "1");
  expect(readSysctl(files, NAME)).toBe("1");
});

test("a value that is right already is not written, so that a read-only /proc/sys does not matter", () => {
  expect(() => ensureSysctl(readOnly(filesWith("1\n")), NAME, "1")).not.toThrow();
  expect(() => ensureOptionalSysctl(readOnly(filesWith("1\n")), NAME, "1")).not.toThrow();
  expect(() => ensureSysctl(readOnly(filesWith("0\n")), NAME, "1")).toThrow("EROFS");
});

test("a setting that the kernel lacks is an error, and never made; an optional one is passed over", () => {
  const files = filesWith("0\n");
  expect(() => ensureSysctl(files, ABSENT, "1")).toThrow("ENOENT");
  ensureOptionalSysctl(files, ABSENT, "1");
  expect(readSysctl(files, ABSENT)).toBeUndefined();
  ensureOptionalSysctl(files, NAME, "1");
  expect(readSysctl(files, NAME)).toBe("1");
});
