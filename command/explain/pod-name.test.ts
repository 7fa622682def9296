import { expect, test } from "vitest";
import { CACHE_DIRECTORIES } from "../../pkg/footprint.ts";
import { formatAddress } from "../../pkg/ip/address.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { addressOfPod } from "./pod-name.ts";

/** A cached result in the format of libcni. */
const cached = (namespace: string, name: string, ...addresses: string[]) =>
  JSON.stringify({
    ...{ kind: "cniCacheV1", containerId: "c1", ifName: "eth0", networkName: "cbr0" },
    cniArgs: [
      ["IgnoreUnknown", "1"],
      ["K8S_POD_NAMESPACE", namespace],
      ["K8S_POD_NAME", name],
    ],
    result: { cniVersion: "1.0.0", ips: addresses.map((address) => ({ address })) },
  });

test("finds a pod's address by name and family, and ignores incomplete files and files of other programs", () => {
  const system = new FakeSystem();
  const [directory = ""] = CACHE_DIRECTORIES;
  system.makeDirectory(directory);
  const files = [
    cached("default", "web-1", "10.244.1.9/24"),
    '{"kind": "cniCa',
    "null",
    JSON.stringify({ result: {} }),
    cached("default", "web-0", "10.244.1.5/24", "fd00:10:244:1::5/64"),
  ];
  files.forEach((text, at) => {
    system.writeFile(`${directory}/cbr0-c${at}-eth0`, new TextEncoder().encode(text));
  });
  const found = (name: string, family: 4 | 6, namespace = "default") => {
    const address = addressOfPod(system, namespace, name, family);
    return address && formatAddress(address);
  };
  expect([found("web-0", 4), found("web-0", 6)]).toEqual(["10.244.1.5", "fd00:10:244:1::5"]);
  expect([found("web-1", 6), found("web-2", 4), found("web-0", 4, "other")]).toEqual([undefined, undefined, undefined]);
});
