import { expect, test } from "vitest";
import { readSysctl, setSysctl } from "../../../pkg/kernel/sysctl.ts";
import { SystemError } from "../../../pkg/sys/errors.ts";
import { nodeFiles } from "../../../pkg/sys/node.ts";
import { assertSettingsIn, withSettingsIn } from "./settings-folder.ts";

const NAME = ["net", "ipv4", "ip_forward"];

/** Files in memory, as the plain object of functions that `nodeFiles` is. */
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

test("settings are read and written where the host's are mounted, and nowhere else", () => {
  const content = { "/proc/sys/net/ipv4/ip_forward": "0", "/host/proc/sys/net/ipv4/ip_forward": "0" };
  const files = withSettingsIn("/host/proc/sys", filesOf(content));
  setSysctl(files, NAME, "1");
  expect(content).toEqual({ "/proc/sys/net/ipv4/ip_forward": "0", "/host/proc/sys/net/ipv4/ip_forward": "1" });
  expect(readSysctl(files, NAME)).toBe("1");
});

test("all other files stay where they are, settings that are not the network's too", () => {
  const files = withSettingsIn("/host/proc/sys", filesOf({ "/proc/sys/kernel/osrelease": "6", "/proc/net/x": "y" }));
  expect(readSysctl(files, ["kernel", "osrelease"])).toBe("6");
  expect(new TextDecoder().decode(files.readFile("/proc/net/x"))).toBe("y");
});

test("without a mount nothing is put in between", () => {
  expect(withSettingsIn("/proc/sys", nodeFiles)).toBe(nodeFiles);
});

test("a folder without settings is told with what belongs there, and this machine's own has them", () => {
  expect(() => assertSettingsIn("/nonexistent", nodeFiles)).toThrow(
    /--proc-sys \/nonexistent: there is no \/nonexistent\/net\/ipv4\/ip_forward; mount .* at \/nonexistent\/net/,
  );
  expect(() => assertSettingsIn("/proc/sys", nodeFiles)).not.toThrow();
});
