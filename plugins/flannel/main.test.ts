import { describe, expect, test } from "vitest";
import { CniError } from "../../pkg/cni/errors.ts";
import { runPlugin } from "../../pkg/cni/loop.ts";
import type { Plugin } from "../../pkg/cni/plugin.ts";
import { EMPTY_RESULT } from "../../pkg/cni/result.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { plugin as flannel } from "./main.ts";

const BIN = "/opt/cni/bin";
const SCRATCH = "/var/lib/cni/flannel";
const ENV = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
const encode = (text: string) => new TextEncoder().encode(text);

interface Seen {
  readonly verb: string;
  readonly containerId: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/** A node with a `bridge` plugin that records its calls, and fails if `fails` is set. */
class Node {
  readonly files = new FakeFiles();
  readonly seen: Seen[] = [];
  fails = false;

  constructor() {
    this.files.makeDirectory("/run/flannel");
    this.files.writeFile("/run/flannel/subnet.env", encode(ENV));
    this.files.makeDirectory(BIN);
    for (const name of ["flannel", "bridge"]) this.files.writeFile(`${BIN}/${name}`, encode("elf"));
    this.files.unlink(`${BIN}/bridge`);
    this.files.link(`${BIN}/flannel`, `${BIN}/bridge`);
  }

  call(verb: string, config: object = {}, containerId = "c1") {
    const note = ({ call }: { readonly call: Parameters<typeof callOf>[0] }) => {
      this.seen.push(callOf(call));
      if (this.fails) throw new CniError(11, "no");
    };
    const bridge: Plugin = {
      ...{ name: "bridge", about: "", del: note, check: note, status: note, gc: note },
      add(request) {
        note(request);
        return EMPTY_RESULT;
      },
    };
    const system = new FakeSystem({
      files: this.files,
      executablePath: `${BIN}/flannel`,
      namespaces: { "/run/netns/a": "4:1" },
      input: JSON.stringify({ cniVersion: "1.1.0", name: "cbr0", type: "flannel", ...config }),
      environment: {
        ...{ CNI_COMMAND: verb, CNI_CONTAINERID: containerId, CNI_NETNS: "/run/netns/a", CNI_IFNAME: "eth0" },
        CNI_PATH: BIN,
      },
    });
    const status = runPlugin(flannel, system, { bridge });
    return { status, answer: system.output === "" ? undefined : JSON.parse(system.output) };
  }

  kept(containerId = "c1"): unknown {
    const path = `${SCRATCH}/${containerId}`;
    return this.files.status(path) === undefined
      ? undefined
      : JSON.parse(new TextDecoder().decode(this.files.readFile(path)));
  }
}

type CallLike = {
  readonly environment: { readonly verb: string; readonly containerId: string };
  readonly config: { readonly object: { values(): Readonly<Record<string, unknown>> } };
};
const callOf = (call: CallLike): Seen => ({
  verb: call.environment.verb,
  containerId: call.environment.containerId,
  config: call.config.object.values(),
});

describe("ADD", () => {
  test("calls the delegate, and keeps its configuration where flannel's own plugin finds it", () => {
    const node = new Node();
    expect(node.call("ADD").status).toBe(0);
    const [seen] = node.seen;
    expect(seen).toMatchObject({ verb: "ADD", config: { type: "bridge", mtu: 1450, name: "cbr0" } });
    expect(node.kept()).toEqual(seen?.config);
    expect(node.files.status(`${SCRATCH}/c1`)?.mode).toBe(0o600);
    expect(node.files.readDirectory(SCRATCH)).toEqual(["c1"]);
  });

  test("keeps nothing and returns the delegate's error if the delegate fails", () => {
    const node = new Node();
    node.fails = true;
    expect(node.call("ADD")).toMatchObject({ status: 1, answer: { code: 11, msg: "no" } });
    expect(node.kept()).toBeUndefined();
  });

  test.each([
    ["is missing", undefined, /subnet\.env: no such file.*flanneld/],
    ["is incomplete", "FLANNEL_MTU=1450", /subnet\.env is missing FLANNEL_NETWORK/],
  ])("fails with code 11 if flanneld's file %s", (_name, text, message) => {
    const node = new Node();
    node.files.unlink("/run/flannel/subnet.env");
    if (text !== undefined) node.files.writeFile("/run/flannel/subnet.env", encode(text));
    expect(node.call("ADD")).toMatchObject({ status: 1, answer: { code: 11, msg: expect.stringMatching(message) } });
    expect(node.call("STATUS")).toMatchObject({ status: 1, answer: { code: 50, msg: expect.stringMatching(message) } });
    expect(node.seen).toEqual([]);
  });
});

describe("DEL", () => {
  test("passes the configuration of ADD to the delegate, and removes it", () => {
    const node = new Node();
    node.call("ADD", { delegate: { bridge: "old0" } });
    node.files.unlink("/run/flannel/subnet.env");
    expect(node.call("DEL", { prevResult: { cniVersion: "1.1.0" } }).status).toBe(0);
    expect(node.seen[1]).toMatchObject({
      verb: "DEL",
      config: { bridge: "old0", prevResult: { cniVersion: "1.1.0" } },
    });
    expect(node.kept()).toBeUndefined();
  });

  test("keeps the configuration for the next DEL if the delegate fails", () => {
    const node = new Node();
    node.call("ADD");
    node.fails = true;
    expect(node.call("DEL").status).toBe(1);
    expect(node.kept()).toBeDefined();
  });

  test.each([
    ["nothing", undefined],
    ["another network's configuration", { name: "other", type: "strange" }],
    ["an incomplete configuration", "{"],
    ["a configuration without a type", { name: "cbr0" }],
  ])("calls the delegate if %s is kept, even without flanneld's file", (_name, kept) => {
    const node = new Node();
    node.files.unlink("/run/flannel/subnet.env");
    node.files.makeDirectory(SCRATCH);
    const text = typeof kept === "string" ? kept : JSON.stringify(kept);
    if (kept !== undefined) node.files.writeFile(`${SCRATCH}/c1`, encode(text));
    expect(node.call("DEL").status).toBe(0);
    expect(node.seen).toMatchObject([{ verb: "DEL", config: { name: "cbr0", type: "bridge" } }]);
  });
});

test("CHECK and GC pass the runtime's configuration to the delegate; GC removes kept configurations without a valid attachment", () => {
  const node = new Node();
  for (const id of ["c1", "c2"]) node.call("ADD", {}, id);
  node.files.writeFile(`${SCRATCH}/c3`, encode(JSON.stringify({ name: "other", type: "bridge" })));
  const prevResult = { cniVersion: "1.1.0", ips: [] };
  expect(node.call("CHECK", { prevResult }).status).toBe(0);
  const valid = { "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] };
  expect(node.call("GC", valid).status).toBe(0);
  expect(node.seen.slice(2)).toMatchObject([
    { verb: "CHECK", config: { prevResult } },
    { verb: "GC", config: valid },
  ]);
  expect(node.files.readDirectory(SCRATCH).sort()).toEqual(["c2", "c3"]);
});
