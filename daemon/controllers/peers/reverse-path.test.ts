import { expect, test } from "vitest";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { strictReversePaths } from "./reverse-path.ts";

function settings(values: Readonly<Record<string, string>>): FakeFiles {
  const files = new FakeFiles();
  for (const [device, value] of Object.entries(values)) {
    files.makeDirectory(`/proc/sys/net/ipv4/conf/${device}`);
    files.writeFile(`/proc/sys/net/ipv4/conf/${device}/rp_filter`, new TextEncoder().encode(`${value}\n`));
  }
  return files;
}

test.each([
  ["nothing filters", { all: "0", eth0: "0" }, 0],
  ["the device is strict", { all: "0", eth0: "1" }, 1],
  ["all are strict", { all: "1", eth0: "0" }, 1],
  ["the device is loose though all are strict", { all: "1", eth0: "2" }, 0],
  ["all are loose though the device is strict", { all: "2", eth0: "1" }, 0],
  ["the device has gone", { all: "0" }, 0],
])("where %s", (_name, values, warnings) => {
  expect(strictReversePaths(settings(values), ["eth0"])).toHaveLength(warnings);
});

test("the remedy is a command that can be run as it stands, a device's name with dots included", () => {
  const [text] = strictReversePaths(settings({ all: "1", "flannel.1": "1" }), ["flannel.1"]);
  expect(text).toMatch(/sysctl -w net\.ipv4\.conf\.flannel\/1\.rp_filter=2$/);
});
