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

test("one that cannot be written is an error that says what the container has to have", () => {
  expect(() => ensureSysctl(readOnly(filesWith("0\n")), NAME, "1")).toThrow(
    /net\.ipv4\.conf\.cni0\.100\.forwarding is 0, has to be 1, and cannot be written \(.*EROFS\).*set net\.ipv4\.conf\.cni0\.100\.forwarding=1 for/,
  );
});

test("an optional one that cannot be written stays as it is", () => {
  const files = filesWith("0\n");
  expect(() => ensureOptionalSysctl(readOnly(files), NAME, "1")).not.toThrow();
  expect(readSysctl(files, NAME)).toBe("0");
});

test("one that cannot be written is not needed where its substitute has the value", () => {
  const all = ["net", "ipv4", "conf", "all", "forwarding"];
  const files = filesWith("0\n");
  expect(() => ensureSysctl(readOnly(files), NAME, "1", all)).toThrow(/set net\.ipv4\.conf\.all\.forwarding=1 for/);
  files.makeDirectory("/proc/sys/net/ipv4/conf/all");
  files.writeFile("/proc/sys/net/ipv4/conf/all/forwarding", new TextEncoder().encode("1\n"));
  expect(() => ensureSysctl(readOnly(files), NAME, "1", all)).not.toThrow();
});

test("a setting that the kernel lacks is an error, and never made; an optional one is passed over", () => {
  const files = filesWith("0\n");
  expect(() => ensureSysctl(files, ABSENT, "1")).toThrow("ENOENT");
  ensureOptionalSysctl(files, ABSENT, "1");
  expect(readSysctl(files, ABSENT)).toBeUndefined();
  ensureOptionalSysctl(files, NAME, "1");
  expect(readSysctl(files, NAME)).toBe("1");
});
