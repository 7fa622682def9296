import { expect, test } from "vitest";
import type { Family } from "../../../pkg/ip/address.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { BridgeFilterError, bridgeFilterSettings } from "./bridge-filter.ts";

const FOLDER = "/proc/sys/net/bridge";

function kernel(...settings: string[]): FakeFiles {
  const files = new FakeFiles();
  files.makeDirectory("/proc/sys/net");
  if (settings.length > 0) files.makeDirectory(FOLDER);
  for (const name of settings) files.writeFile(`${FOLDER}/${name}`, new TextEncoder().encode("0\n"));
  return files;
}

const both = kernel("bridge-nf-call-iptables", "bridge-nf-call-ip6tables");

test.each<[string, Family[], string[]]>([
  ["IPv4", [4], ["bridge-nf-call-iptables"]],
  ["IPv6", [6], ["bridge-nf-call-ip6tables"]],
  ["both", [4, 6], ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"]],
])("pods of %s need bridged packets passed to the rules of their families only", (_name, families, names) => {
  const settings = bridgeFilterSettings(both, new Set(families));
  expect(settings).toEqual(names.map((name) => ({ name: ["net", "bridge", name], value: "1" })));
});

test("without the module, the error names the command to run", () => {
  expect(() => bridgeFilterSettings(kernel(), new Set([4]))).toThrow(BridgeFilterError);
  expect(() => bridgeFilterSettings(kernel(), new Set([4]))).toThrow(/modprobe br_netfilter.*--attach ptp/);
});
