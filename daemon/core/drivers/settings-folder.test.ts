import { expect, test } from "vitest";
import { readSysctl, setSysctl } from "../../../pkg/kernel/sysctl.ts";
import { SystemError } from "../../../pkg/sys/errors.ts";
import { nodeFiles } from "../../../pkg/sys/node.ts";
import { assertSettingsIn, withSettingsIn } from "./settings-folder.ts";

const NAME = ["net", "ipv4", "ip_forward"];

/** Files in memory, as a plain object of functions like `nodeFiles`. */
function filesOf(content: Record<string, string>) {
  return {
    ...nodeFiles,
    readFile: (path: string) => {
      const text = content[path];
      if (text === undefined) throw new SystemError("open", path, 2);
      return new TextEncoder().encode(text);
    },
    writeFile: (path: string, data: Uint8Array) => {
      content[path] = new TextDecoder().decode(data);
    },
  };
}

test("reads and writes network settings only where the host's are mounted", () => {
  const content = { "/proc/sys/net/ipv4/ip_forward": "0", "/host/proc/sys/net/ipv4/ip_forward": "0" };
  const files = withSettingsIn("/host/proc/sys", filesOf(content));
  setSysctl(files, NAME, "1");
  expect(content).toEqual({ "/proc/sys/net/ipv4/ip_forward": "0", "/host/proc/sys/net/ipv4/ip_forward": "1" });
  expect(readSysctl(files, NAME)).toBe("1");
});

test("does not redirect other files or other settings", () => {
  const files = withSettingsIn("/host/proc/sys", filesOf({ "/proc/sys/kernel/osrelease": "6", "/proc/net/x": "y" }));
  expect(readSysctl(files, ["kernel", "osrelease"])).toBe("6");
  expect(new TextDecoder().decode(files.readFile("/proc/net/x"))).toBe("y");
});

test("returns the files unchanged if nothing is mounted", () => {
  expect(withSettingsIn("/proc/sys", nodeFiles)).toBe(nodeFiles);
});

test("the error for a folder without settings names what to mount, and /proc/sys passes", () => {
  expect(() => assertSettingsIn("/nonexistent", nodeFiles)).toThrow(
    /--proc-sys \/nonexistent: \/nonexistent\/net\/ipv4\/ip_forward does not exist; mount .* at \/nonexistent\/net/,
  );
  expect(() => assertSettingsIn("/proc/sys", nodeFiles)).not.toThrow();
});
