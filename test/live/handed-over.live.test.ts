/** An executable leaves its nfnetlink socket to the kernel's garbage collection (pkg/sys/host/network.c). */
import { afterEach, beforeEach, expect, test } from "vitest";
import { OURS, PluginBed } from "./harness/plugin-bed.ts";
import { eventually } from "./harness/process.ts";

const NETLINK_NETFILTER = "12";
const CONFIGURATION = {
  ...{ cniVersion: "1.1.0", name: "net", type: "portmap" },
  runtimeConfig: { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }] },
  prevResult: {
    cniVersion: "1.1.0",
    interfaces: [{ name: "eth0", sandbox: "/run/netns/pod" }],
    ips: [{ address: "10.22.0.2/24", interface: 0 }],
  },
};

let bed: PluginBed;
beforeEach(async () => {
  bed = await PluginBed.make();
});
afterEach(() => bed.close());

/** The number of lines of a file in /proc/net whose second word is `word`, or of all lines. */
async function countOf(name: string, word?: string): Promise<number> {
  const lines = (await bed.node.succeed("cat", [`/proc/net/${name}`])).trim().split("\n");
  return lines.filter((line) => word === undefined || line.split(/\s+/)[1] === word).length;
}

test("the kernel closes the sockets of many calls, and the deletions have taken effect when the calls end", async () => {
  const before = { unix: await countOf("unix"), netfilter: await countOf("netlink", NETLINK_NETFILTER) };
  for (let round = 0; round < 20; round++) {
    expect(await bed.call(OURS, "portmap", "ADD", CONFIGURATION)).toMatchObject({ status: 0 });
    expect(await bed.node.succeed("nft", ["list", "ruleset"])).toContain("tcp . 8080");
    expect(await bed.call(OURS, "portmap", "DEL", CONFIGURATION)).toMatchObject({ status: 0 });
    expect(await bed.node.succeed("nft", ["list", "ruleset"])).not.toContain("tcp . 8080");
  }
  await eventually(async () => {
    const after = { unix: await countOf("unix"), netfilter: await countOf("netlink", NETLINK_NETFILTER) };
    expect(after).toEqual(before);
  });
});
