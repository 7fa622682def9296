import { expect, test } from "vitest";
import { FakeSystem } from "../sys/fake.ts";
import { CachedAttachments } from "./cached-attachments.ts";

const CONFIG = Buffer.from(JSON.stringify({ name: "net", plugins: [{ type: "bridge" }] })).toString("base64");
const FOLDER = "/var/lib/cni/results";

function bench() {
  const system = new FakeSystem();
  const reads: string[] = [];
  const files = {
    readDirectory: (path: string) => system.readDirectory(path),
    status: (path: string) => system.status(path),
    readFile(path: string) {
      reads.push(path);
      return system.readFile(path);
    },
  };
  const write = (path: string, containerId: string, more: object = {}) => {
    const content = { containerId, ifName: "eth0", networkName: "net", config: CONFIG, ...more };
    system.writeFile(path, new TextEncoder().encode(JSON.stringify(content)));
  };
  return { system, reads, write, cached: new CachedAttachments(files) };
}

test("reads no attachments if the runtime has no cache", () => {
  expect(bench().cached.read()).toEqual(new Map());
});

test("finds each attachment by its mark, not by its file name", () => {
  const { system, write, cached } = bench();
  for (const folder of [FOLDER, "/var/lib/cni/cache/results"]) system.makeDirectory(folder);
  write(`${FOLDER}/net-c1-eth0`, "c1");
  write("/var/lib/cni/cache/results/other", "c2");
  write(`${FOLDER}/cni-loopback-c1-lo`, "c1", { networkName: "cni-loopback", ifName: "lo" });
  system.writeFile(`${FOLDER}/torn`, new TextEncoder().encode("{"));
  system.makeDirectory(`${FOLDER}/folder`);
  expect([...cached.read().keys()].sort()).toEqual(["cni:cni-loopback/c1/lo", "cni:net/c1/eth0", "cni:net/c2/eth0"]);
});

test("uses the delegate's configuration that flannel's plugin saved for the pod", () => {
  const { system, write, cached } = bench();
  for (const folder of [FOLDER, "/var/lib/cni/flannel"]) system.makeDirectory(folder);
  const config = Buffer.from(
    JSON.stringify({ name: "net", plugins: [{ type: "flannel", delegate: {} }, { type: "portmap" }] }),
  ).toString("base64");
  write(`${FOLDER}/a`, "c1", { config });
  write(`${FOLDER}/b`, "c2", { config });
  const kept = { name: "net", cniVersion: "0.3.1", type: "bridge", ipMasq: true };
  system.writeFile("/var/lib/cni/flannel/c1", new TextEncoder().encode(JSON.stringify(kept)));
  const typesOf = (mark: string) =>
    cached
      .read()
      .get(mark)
      ?.plugins.map((plugin) => `${plugin.value("type")} ${plugin.value("ipMasq") ?? ""}`);
  expect(typesOf("cni:net/c1/eth0")).toEqual(["bridge true", "portmap "]);
  expect(typesOf("cni:net/c2/eth0")).toEqual(["flannel ", "portmap "]);
});

test("reads only changed files again and drops removed ones", () => {
  const { system, reads, write, cached } = bench();
  system.makeDirectory(FOLDER);
  write(`${FOLDER}/a`, "c1");
  write(`${FOLDER}/b`, "c2");
  cached.read();
  reads.length = 0;
  cached.read();
  expect(reads).toEqual([]);
  system.unlink(`${FOLDER}/a`);
  write(`${FOLDER}/b`, "c3-longer");
  expect([...cached.read().keys()]).toEqual(["cni:net/c3-longer/eth0"]);
  expect(reads).toEqual([`${FOLDER}/b`]);
});

test("attributes a file without a configuration to its attachment by name", () => {
  const { system, cached } = bench();
  system.makeDirectory(FOLDER);
  system.writeFile(`${FOLDER}/net-c1-eth0`, new TextEncoder().encode("{}"));
  expect(cached.read()).toEqual(new Map());
  expect(["cni:net/c1/eth0", "cni:net/c2/eth0", "c1"].map((mark) => cached.hasFileOf(mark))).toEqual([
    ...[true, false, false],
  ]);
});
