/** weft's nftables tables in a real kernel, read back by nft and tested with packets. Needs root, ip and nft. */
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Step } from "./nftables-child.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("nftables live tests skipped: creating network namespaces needs root\n");

const CHILD = fileURLToPath(new URL("./nftables-child.ts", import.meta.url));
const NODE = `weft-nft-${process.pid}`;
const POD = `${NODE}-pod`;
const OUTSIDE = `${NODE}-out`;

const run = (file: string, ...args: string[]) => execFileSync(file, args, { encoding: "utf8", stdio: "pipe" });
const inside = (namespace: string, ...command: string[]) => run("ip", "netns", "exec", namespace, ...command);
const nft = (...args: string[]) => inside(NODE, "nft", ...args);

function steps(...list: Step[]): unknown[] {
  const output = execFileSync("ip", ["netns", "exec", NODE, process.execPath, CHILD], {
    input: JSON.stringify(list),
    encoding: "utf8",
    stdio: "pipe",
  });
  return output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/** The rules of a chain as nft lists them, without counters. */
function rules(table: string): string[] {
  return nft("list", "chain", "inet", table, "postrouting")
    .split("\n")
    .filter((line) => line.includes("comment"))
    .map((line) => line.trim().replace(/counter packets \d+ bytes \d+/, "counter"));
}

const settings = {
  podRanges: ["10.244.0.0/16", "10.245.0.0/16", "10.250.1.0/24", "fd00:10::/56", "255.255.255.0/24"],
  exempt: ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1"],
};
const replace: Step = { do: "replace", ...settings };
const compare: Step = { do: "compare", ...settings };

describe.runIf(isRoot)("nftables in the kernel", () => {
  beforeEach(() => {
    run("ip", "netns", "add", NODE);
  });
  afterEach(() => {
    for (const namespace of [NODE, POD, OUTSIDE]) {
      try {
        run("ip", "netns", "del", namespace);
      } catch {
        // Not every test makes all of them.
      }
    }
  });

  test("the node's table matches after each replacement, and is absent before", () => {
    expect(steps(compare, replace, compare, replace, compare)).toEqual([false, "replaced", true, "replaced", true]);
  });

  test("a transaction larger than a socket's default send buffer is sent completely", () => {
    const exempt = Array.from({ length: 12_000 }, (_, at) => `2001:db8::${(at + 1).toString(16)}`);
    expect(steps({ ...replace, exempt }, { ...compare, exempt })).toEqual(["replaced", true]);
    expect(Number(readFileSync("/proc/sys/net/core/wmem_default", "utf8"))).toBeLessThan(exempt.length * 32);
  });

  test("nft lists the node's rules with the intended meaning", () => {
    steps(replace);
    expect(rules("weft")).toEqual([
      'ip saddr @pod-ranges4 ip daddr != @pod-ranges4 ip daddr != @exempt4 ip daddr != @non-masquerade4 ip daddr != 224.0.0.0/4 counter masquerade fully-random comment "pods to the outside, IPv4"',
      'ip6 saddr @pod-ranges6 ip6 daddr != @pod-ranges6 ip6 daddr != @exempt6 ip6 daddr != @non-masquerade6 ip6 daddr != ff00::/8 counter masquerade fully-random comment "pods to the outside, IPv6"',
    ]);
    const list = nft("list", "ruleset");
    expect(list).toContain("elements = { 10.244.0.0/15, 10.250.1.0/24,");
    expect(list).toContain("elements = { 192.0.2.1, 192.0.2.2 }");
    expect(list).toContain("elements = { fd00:10::/56 }");
    expect(list).toContain('comment "addresses of all pods in the cluster"');
    expect(list).toContain("type nat hook postrouting priority srcnat; policy accept;");
  });

  test("nft's listing can be loaded again and gives the same table", () => {
    steps(replace);
    execFileSync("ip", ["netns", "exec", NODE, "nft", "-f", "-"], {
      input: `delete table inet weft\n${nft("list", "ruleset")}`,
    });
    expect(rules("weft")).toHaveLength(2);
    expect(nft("-j", "list", "ruleset")).toContain('"prefix": {"addr": "10.244.0.0", "len": 15}');
  });

  test.each([
    ["a deleted element", ["delete", "element", "inet", "weft", "exempt4", "{ 192.0.2.2 }"]],
    ["an added element", ["add", "element", "inet", "weft", "exempt4", "{ 192.0.2.9 }"]],
    ["an added range", ["add", "element", "inet", "weft", "pod-ranges4", "{ 10.99.0.0/16 }"]],
    ["an added rule", ["add", "rule", "inet", "weft", "postrouting", "counter"]],
    ["rules flushed", ["flush", "chain", "inet", "weft", "postrouting"]],
    ["an added chain", ["add", "chain", "inet", "weft", "foreign"]],
    ["an added set", ["add", "set", "inet", "weft", "foreign", "{ type ipv4_addr; }"]],
    ["an added counter object", ["add", "counter", "inet", "weft", "foreign"]],
    ["a dormant table", ["add", "table", "inet", "weft", "{ flags dormant; }"]],
    ["a deleted table", ["delete", "table", "inet", "weft"]],
  ])("%s makes the table differ, and a replacement repairs it", (_, command) => {
    steps(replace);
    nft(...command);
    expect(steps(compare, replace, compare)).toEqual([false, "replaced", true]);
  });

  test("other tables are ignored", () => {
    nft("add", "table", "inet", "other");
    nft("add", "chain", "inet", "other", "postrouting", "{ type nat hook postrouting priority 100; }");
    nft("add", "rule", "inet", "other", "postrouting", "counter");
    expect(steps(replace, compare)).toEqual(["replaced", true]);
    expect(rules("other")).toHaveLength(0);
    expect(nft("list", "table", "inet", "other")).toContain("counter");
  });

  test("thousands of addresses fit into one transaction", () => {
    const exempt = Array.from({ length: 5000 }, (_, index) => `198.18.${index >> 8}.${index & 255}`);
    const podRanges = Array.from({ length: 500 }, (_, index) => `10.${index >> 7}.${(index & 127) * 2}.0/24`);
    const large = { podRanges, exempt };
    expect(steps({ do: "replace", ...large }, { do: "compare", ...large })).toEqual(["replaced", true]);
  });

  test("a pod's entries are added and removed with their owner", () => {
    steps(
      { do: "add", owner: "cni:net/a/eth0", addresses: ["10.1.0.2/24", "fd00:1::2/64"] },
      { do: "add", owner: "cni:net/b/eth0", addresses: ["10.1.0.3/24"] },
      { do: "add", owner: "cni:net/b/eth0", addresses: ["10.1.0.3/24"] },
    );
    expect(rules("weft_masquerade")).toEqual([
      'ip saddr @pods4 ip saddr . ip daddr != @pod-subnets4 ip daddr != 224.0.0.0/4 counter masquerade fully-random comment "pods to outside their subnets, IPv4"',
      'ip6 saddr @pods6 ip6 saddr . ip6 daddr != @pod-subnets6 ip6 daddr != ff00::/8 counter masquerade fully-random comment "pods to outside their subnets, IPv6"',
    ]);
    const both = nft("list", "ruleset");
    expect(both).toContain('10.1.0.2 . 10.1.0.0/24 comment "cni:net/a/eth0"');
    expect(both).toContain('fd00:1::2 . fd00:1::/64 comment "cni:net/a/eth0"');
    steps({ do: "remove", owner: "cni:net/a/eth0" }, { do: "remove", owner: "cni:net/a/eth0" });
    const one = nft("list", "ruleset");
    expect(one).not.toContain("cni:net/a/eth0");
    expect(one).toContain('10.1.0.3 . 10.1.0.0/24 comment "cni:net/b/eth0"');
  });

  test("a reassigned address stays when its old owner is removed late", () => {
    steps(
      { do: "add", owner: "cni:net/old/eth0", addresses: ["10.1.0.2/24"] },
      { do: "add", owner: "cni:net/new/eth0", addresses: ["10.1.0.2/16"] },
      { do: "remove", owner: "cni:net/old/eth0" },
    );
    const list = nft("list", "ruleset");
    expect(list).toContain('10.1.0.2 comment "cni:net/new/eth0"');
    expect(list).toContain('10.1.0.2 . 10.1.0.0/16 comment "cni:net/new/eth0"');
  });

  test("of two concurrent additions of an address one fails, so that it dumps again", () => {
    const race: Step = { do: "race", owners: ["cni:net/a/eth0", "cni:net/b/eth0"], addresses: ["10.1.0.2/24"] };
    expect(steps(race)).toEqual([["added", "EEXIST"]]);
    nft("flush", "set", "inet", "weft_masquerade", "pods4");
    nft("flush", "set", "inet", "weft_masquerade", "pod-subnets4");
    expect(steps(race)).toEqual([["added", "EEXIST"]]);
    nft("flush", "chain", "inet", "weft_masquerade", "postrouting");
    expect(steps(race)).toEqual([["added", "ENOENT"]]);
  });

  test("a damaged table is recreated with the other pods' entries", () => {
    steps({ do: "add", owner: "cni:net/a/eth0", addresses: ["10.1.0.2/24", "fd00:1::2/64"] });
    nft("flush", "chain", "inet", "weft_masquerade", "postrouting");
    steps({ do: "add", owner: "cni:net/b/eth0", addresses: ["10.1.0.3/24"] });
    expect(rules("weft_masquerade")).toHaveLength(2);
    const list = nft("list", "ruleset");
    expect(list).toContain('10.1.0.2 . 10.1.0.0/24 comment "cni:net/a/eth0"');
    expect(list).toContain('fd00:1::2 . fd00:1::/64 comment "cni:net/a/eth0"');
    expect(list).toContain('10.1.0.3 . 10.1.0.0/24 comment "cni:net/b/eth0"');
  });

  test("an owner's mark of 127 bytes is read back completely", () => {
    const owner = `cni:${"n".repeat(122)}/`;
    steps({ do: "add", owner, addresses: ["10.1.0.2/24"] });
    expect(nft("list", "ruleset")).toContain(`10.1.0.2 comment "${owner}"`);
    steps({ do: "remove", owner });
    expect(nft("list", "ruleset")).not.toContain(owner);
  });

  describe("with packets", () => {
    /** pod 10.1.0.2 - node 10.1.0.1, 192.0.2.1 - outside 192.0.2.2, which also has 192.0.2.3 and a route back. */
    beforeEach(() => {
      for (const namespace of [POD, OUTSIDE]) run("ip", "netns", "add", namespace);
      run("ip", "-n", NODE, "link", "add", "pod", "type", "veth", "peer", "name", "eth0", "netns", POD);
      run("ip", "-n", NODE, "link", "add", "out", "type", "veth", "peer", "name", "eth0", "netns", OUTSIDE);
      for (const [namespace, device, ...addresses] of [
        [NODE, "pod", "10.1.0.1/24"],
        [NODE, "out", "192.0.2.1/24"],
        [POD, "eth0", "10.1.0.2/24"],
        [OUTSIDE, "eth0", "192.0.2.2/24", "192.0.2.3/24"],
      ] as const) {
        for (const address of addresses) run("ip", "-n", namespace, "addr", "add", address, "dev", device);
        run("ip", "-n", namespace, "link", "set", device, "up");
      }
      run("ip", "-n", POD, "route", "add", "default", "via", "10.1.0.1");
      run("ip", "-n", OUTSIDE, "route", "add", "default", "via", "192.0.2.1");
      inside(NODE, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward");
    });

    /** The source address of a packet from the pod as the outside machine sees it. */
    async function sourceSeen(destination: string): Promise<string> {
      const program = `const s=require("dgram").createSocket("udp4");s.bind(9999,"${destination}",()=>console.log("ready"));
        s.on("message",(m,from)=>{console.log(from.address);s.close()});setTimeout(()=>process.exit(1),5000).unref()`;
      const receiver = spawn("ip", ["netns", "exec", OUTSIDE, process.execPath, "-e", program]);
      const ended = new Promise((resolve) => receiver.on("close", resolve));
      let seen = "";
      await new Promise<void>((resolve) => {
        receiver.stdout.on("data", (data) => {
          seen += String(data);
          resolve();
        });
      });
      inside(POD, "bash", "-c", `echo hello > /dev/udp/${destination}/9999`);
      await ended;
      return seen.replace("ready", "").trim();
    }

    test("pods show the node's address to the outside, and their own to exempt nodes", async () => {
      expect(await sourceSeen("192.0.2.2")).toBe("10.1.0.2");
      steps({ do: "replace", podRanges: ["10.1.0.0/16"], exempt: ["192.0.2.3"] });
      inside(NODE, "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=1");
      expect(await sourceSeen("192.0.2.2")).toBe("192.0.2.1");
      expect(await sourceSeen("192.0.2.3")).toBe("10.1.0.2");
      steps({ do: "replace", podRanges: ["10.1.0.0/16", "192.0.2.0/24"], exempt: [] });
      expect(await sourceSeen("192.0.2.2")).toBe("10.1.0.2");
    });

    test("a pod with ipMasq shows its own address within its subnet only", async () => {
      steps({ do: "add", owner: "cni:net/a/eth0", addresses: ["10.1.0.2/24"] });
      expect(await sourceSeen("192.0.2.2")).toBe("192.0.2.1");
      steps({ do: "add", owner: "cni:net/a/eth0", addresses: ["10.1.0.2/0"] });
      expect(await sourceSeen("192.0.2.2")).toBe("10.1.0.2");
      steps({ do: "remove", owner: "cni:net/a/eth0" });
      expect(await sourceSeen("192.0.2.2")).toBe("10.1.0.2");
    });
  });
});
