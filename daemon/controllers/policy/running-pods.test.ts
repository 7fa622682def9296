import { expect, test } from "vitest";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { FakeSystem } from "../../../pkg/sys/fake.ts";
import { FakePolicySource, podObject } from "../../sources/fake-policy-source.ts";
import { RunningPods } from "./running-pods.ts";

const FOLDER = "/var/lib/cni/results";
const KEY = { networkPolicy: { socket: "/run/weft/policy.sock", fail: "closed" } };

function bench() {
  const system = new FakeSystem();
  system.makeDirectory(FOLDER);
  const { pods } = new FakePolicySource();
  const cache = (
    pod: string,
    ips: readonly string[],
    { plugin = KEY as object, ifName = "eth0", args = true } = {},
  ) => {
    const config = { name: "cbr0", plugins: [{ type: "bridge", ...plugin }, { type: "portmap" }] };
    const content = {
      ...{ containerId: `c-${pod}`, ifName, networkName: "cbr0" },
      config: Buffer.from(JSON.stringify(config)).toString("base64"),
      ...(args && {
        cniArgs: [
          ["IgnoreUnknown", "1"],
          ["K8S_POD_NAMESPACE", "default"],
          ["K8S_POD_NAME", pod],
          ["K8S_POD_UID", pod],
        ],
      }),
      result: { cniVersion: "1.0.0", ips: ips.map((address) => ({ address })) },
    };
    system.writeFile(`${FOLDER}/${pod}-${ifName}`, new TextEncoder().encode(JSON.stringify(content)));
  };
  const running = new RunningPods({ nodeName: "n1", pods, files: system });
  const found = () =>
    running.attachments().map(({ key, uid, addresses }) => `${key} ${uid} ${addresses.map(formatAddress).join()}`);
  return { pods, cache, found };
}

test("a pod without a reported address has those of its cached result", () => {
  const { pods, cache, found } = bench();
  pods.put(podObject("new", []), podObject("old", ["10.244.1.3"]), podObject("far", [], { node: "n2" }));
  cache("new", ["10.244.1.2/24", "fd00::2/64"]);
  cache("old", ["10.244.1.3/24"]);
  cache("far", ["10.244.1.4/24"]);
  expect(found()).toEqual(["default/new new 10.244.1.2,fd00::2"]);
});

test("interfaces of other networks, and results without the pod's name, do not count", () => {
  const { pods, cache, found } = bench();
  pods.put(podObject("new", []), podObject("other", []));
  cache("new", ["192.0.2.7/24"], { plugin: {}, ifName: "net1" });
  cache("other", ["10.244.1.5/24"], { args: false });
  expect(found()).toEqual([]);
});
