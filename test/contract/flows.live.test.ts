/**
 * Connection tracking in the kernel, as policies use it: the fields of flows, the kernel's selection by address, and the
 * deletion of flows of all protocols. Needs root, ip and conntrack.
 */
import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FlowCleaner } from "../../daemon/core/drivers/flow-cleaner.ts";
import { SYSTEM_CLOCK } from "../../pkg/cluster/clock.ts";
import { formatAddress, parseAddress } from "../../pkg/ip/address.ts";
import { type ConnectionSelector, connectionDump } from "../../pkg/kernel/connection-selector.ts";
import { Flow } from "../../pkg/kernel/flow.ts";
import { EventedNetlink } from "../../pkg/netlink/evented.ts";
import { Cleanup } from "../live/harness/cleanup.ts";
import { describeWhere, isKernelFrom } from "../live/harness/kernel.ts";
import { makeNamespace } from "../live/harness/namespace.ts";
import { openKernelSocket } from "./nftables/kernel-socket.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("flows contract skipped: it makes a network namespace, which needs root\n");

// Earlier kernels ignore filters of dumps.
describeWhere(isRoot && isKernelFrom(5, 8))("connection tracking in the kernel", () => {
  let cleanup: Cleanup;
  let name: string;
  let netlink: EventedNetlink;
  beforeEach(async () => {
    cleanup = new Cleanup();
    ({ name } = await makeNamespace("flows", cleanup));
    netlink = new EventedNetlink(await openKernelSocket(name), "a test", SYSTEM_CLOCK);
    cleanup.push(() => netlink.close());
    inside(`echo 1 >/proc/sys/net/netfilter/nf_conntrack_timestamp`);
  });
  afterEach(() => cleanup.run());

  function inside(script: string): void {
    const { status, stderr } = spawnSync("ip", ["netns", "exec", name, "sh", "-ec", script], { encoding: "utf8" });
    expect(status, stderr).toBe(0);
  }
  /** Adds an entry from `from` to `to` that `by` answers. */
  const plant = (protocol: string, from: string, to: string, by = to, more = "") => {
    const ports = ["tcp", "udp", "sctp"].includes(protocol)
      ? "--sport 40000 --dport 80 --reply-port-src 8080 --reply-port-dst 40000"
      : `--icmp-type ${protocol === "icmp" ? 8 : 128} --icmp-code 0 --icmp-id 7`;
    const words = ports.replaceAll("--icmp-", protocol === "icmpv6" ? "--icmpv6-" : "--icmp-");
    inside(`conntrack -I -p ${protocol} -t 600 -s ${from} -d ${to} -r ${by} -q ${from} ${words} ${more}`);
  };
  async function flows(selector: ConnectionSelector): Promise<Flow[]> {
    const found: Flow[] = [];
    await netlink.dump(connectionDump(selector), (message) => {
      const flow = Flow.read({ ...message, payload: message.payload.slice() });
      if (flow !== undefined) found.push(flow);
      return false;
    });
    return found;
  }
  const text = (flow: Flow) =>
    `${flow.protocol} ${formatAddress(flow.from)} ${formatAddress(flow.to)} ${flow.port}${flow.isExpected ? " expected" : ""}`;
  const texts = async (selector: ConnectionSelector) => (await flows(selector)).map(text).sort();

  test.each([
    [4, "10.0.0.1", "10.96.0.1", "10.0.0.2", "icmp", 1],
    [6, "fd00::1", "fd00:96::1", "fd00::2", "icmpv6", 58],
  ] as const)(
    "IPv%d: a flow has the source before and the destination after translation, and the time of its beginning",
    async (family, from, vip, by, icmp, icmpNumber) => {
      const beforeMs = Date.now();
      plant("tcp", from, vip, by, "--state ESTABLISHED -u SEEN_REPLY,ASSURED");
      plant("udp", from, vip, by, "-u SEEN_REPLY");
      plant("sctp", from, vip, by, "--state ESTABLISHED --orig-vtag 1 --reply-vtag 2");
      plant(icmp, from, by);
      const afterMs = Date.now();
      expect(await texts({ family })).toEqual(
        [
          ...(family === 4 ? [`1 ${from} ${by} 0`] : []),
          `132 ${from} ${by} 8080`,
          `17 ${from} ${by} 8080`,
          ...(family === 6 ? [`${icmpNumber} ${from} ${by} 0`] : []),
          `6 ${from} ${by} 8080`,
        ].sort(),
      );
      for (const { startedMs = 0 } of await flows({ family })) {
        expect(startedMs).toBeGreaterThanOrEqual(beforeMs - 1);
        expect(startedMs).toBeLessThanOrEqual(afterMs + 1);
      }
      expect(await texts({ family: family === 4 ? 6 : 4 })).toEqual([]);
    },
  );

  test("a flow that the kernel tracked before it recorded times has no time", async () => {
    inside("echo 0 >/proc/sys/net/netfilter/nf_conntrack_timestamp");
    plant("udp", "10.0.0.1", "10.0.0.2");
    inside("echo 1 >/proc/sys/net/netfilter/nf_conntrack_timestamp");
    expect((await flows({ family: 4 })).map(({ startedMs }) => startedMs)).toEqual([undefined]);
  });

  test("the kernel selects flows of all protocols by their source, and by the source of the replies", async () => {
    plant("tcp", "10.0.0.1", "10.96.0.1", "10.0.0.2", "--state ESTABLISHED -u SEEN_REPLY,ASSURED");
    plant("udp", "10.0.0.2", "10.96.0.1", "10.0.0.1");
    plant("icmp", "10.0.0.3", "10.0.0.1");
    plant("udp", "10.0.0.3", "10.0.0.2");
    const address = parseAddress("10.0.0.1");
    expect(await texts({ family: 4, source: address })).toEqual(["6 10.0.0.1 10.0.0.2 8080"]);
    expect(await texts({ family: 4, answeredBy: address })).toEqual([
      "1 10.0.0.3 10.0.0.1 0",
      "17 10.0.0.2 10.0.0.1 8080",
    ]);
  });

  test.each([
    [4, "10.0.0.1", "10.0.0.2", "10.0.0.3", "icmp"],
    [6, "fd00::1", "fd00::2", "fd00::3", "icmpv6"],
  ] as const)("IPv%d: deletes flows of all protocols, and in all zones", async (family, from, to, other, icmp) => {
    plant("tcp", from, to, to, "--state ESTABLISHED -u SEEN_REPLY,ASSURED");
    for (const protocol of ["udp", "sctp", icmp])
      plant(protocol, from, to, to, protocol === "sctp" ? "--state ESTABLISHED --orig-vtag 1 --reply-vtag 2" : "");
    plant("udp", from, to, to, "-w 7");
    plant("udp", other, to);
    const cleaner = new FlowCleaner(netlink);
    const deleted = await cleaner.clean({
      ...{ selector: { family }, exact: undefined },
      matches: (message) => Flow.read(message)?.fromKey !== [...flowKey(other)].join(""),
    });
    expect(deleted).toBe(5);
    expect(await texts({ family })).toEqual([`17 ${other} ${to} 8080`]);
  });
});

function flowKey(address: string): string {
  const { family, value } = parseAddress(address);
  const length = family === 4 ? 4 : 16;
  return Array.from({ length }, (_, at) =>
    String.fromCharCode(Number((value >> BigInt(8 * (length - 1 - at))) & 255n)),
  ).join("");
}
