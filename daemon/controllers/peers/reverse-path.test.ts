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
  ["no device filters", { all: "0", eth0: "0" }, 0],
  ["the device is strict", { all: "0", eth0: "1" }, 1],
  ["all are strict", { all: "1", eth0: "0" }, 1],
  ["the device is loose although all are strict", { all: "1", eth0: "2" }, 0],
  ["all are loose although the device is strict", { all: "2", eth0: "1" }, 0],
  ["the device does not exist", { all: "0" }, 0],
])("if %s", (_name, values, warnings) => {
  expect(strictReversePaths(settings(values), ["eth0"])).toHaveLength(warnings);
});

test("the remedy is a valid command, even if the device's name has dots", () => {
  const [text] = strictReversePaths(settings({ all: "1", "flannel.1": "1" }), ["flannel.1"]);
  expect(text).toMatch(/sysctl -w net\.ipv4\.conf\.flannel\/1\.rp_filter=2$/);
});
