/**
 * nfnetlink_log in the kernel: binding a group, and the packets of nftables rules. Needs root, ip and nft.
 */
import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { listenToPacketLog } from "../../daemon/core/packet-log.ts";
import { formatAddress } from "../../pkg/ip/address.ts";
import { readPacketHeader } from "../../pkg/ip/packet-header.ts";
import { Cleanup } from "../live/harness/cleanup.ts";
import { describeWhere } from "../live/harness/kernel.ts";
import { makeNamespace } from "../live/harness/namespace.ts";
import { eventually } from "../live/harness/process.ts";
import { openKernelSocket } from "./nftables/kernel-socket.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("nfnetlink_log contract skipped: it makes a network namespace, which needs root\n");
const GROUP = 119;

describeWhere(isRoot)("nfnetlink_log in the kernel", () => {
  let cleanup: Cleanup;
  let name: string;
  beforeEach(async () => {
    cleanup = new Cleanup();
    ({ name } = await makeNamespace("packet-log", cleanup));
  });
  afterEach(() => cleanup.run());

  const inside = (command: readonly string[], input?: string) => {
    const { status, stderr } = spawnSync("ip", ["netns", "exec", name, ...command], { encoding: "utf8", input });
    expect(status, stderr).toBe(0);
  };
  const rules = (...lines: readonly string[]) =>
    inside(
      ["nft", "-f", "-"],
      `table inet t { chain out { type filter hook output priority 0; ${lines.map((line) => `${line};`).join(" ")} }\n}\n`,
    );
  const send = (address: string, port: number) => inside(["bash", "-c", `echo hello >/dev/udp/${address}/${port}`]);

  async function listen() {
    const socket = await openKernelSocket(name);
    cleanup.push(() => socket.close());
    const packets: string[] = [];
    let lost = 0;
    await listenToPacketLog(socket, GROUP, {
      onPacket: ({ prefix, bytes }) => {
        const header = readPacketHeader(bytes);
        const to = header && `${formatAddress(header.to)} ${header.protocol} ${header.destinationPort}`;
        packets.push(`${prefix}: ${to}, ${bytes.length} bytes`);
      },
      onLoss: () => lost++,
      onBroken: (error) => packets.push(`broken: ${error.message}`),
    });
    return { packets, lost: () => lost };
  }

  test("a socket that binds a group receives the packets of both families, with prefix and headers", async () => {
    const log = await listen();
    rules(
      `udp dport 9 log prefix "weft deny 12345" group ${GROUP}`,
      `udp dport 10 log prefix "weft deny 2147483647" group ${GROUP}`,
    );
    send("127.0.0.1", 9);
    send("::1", 10);
    const [udp4, udp6] = [20 + 8 + 6, 40 + 8 + 6];
    await eventually(() =>
      expect(log.packets).toEqual([
        `weft deny 12345: 127.0.0.1 17 9, ${udp4} bytes`,
        `weft deny 2147483647: ::1 17 10, ${udp6} bytes`,
      ]),
    );
  });

  test("packets that the kernel sends together arrive separately, each copied up to the limit", async () => {
    const log = await listen();
    rules(`meta l4proto udp log prefix "weft deny 1" group ${GROUP}`);
    inside(["bash", "-c", "for i in $(seq 100); do head -c 1000 /dev/zero >/dev/udp/127.0.0.1/9; done"]);
    await eventually(() => expect(log.packets).toHaveLength(100));
    expect(new Set(log.packets)).toEqual(new Set(["weft deny 1: 127.0.0.1 17 9, 128 bytes"]));
    expect(log.lost()).toBe(0);
  });

  test("a second socket is refused with EPERM; the group is free as soon as the first socket is closed", async () => {
    const first = await openKernelSocket(name);
    const silent = { onPacket: () => undefined, onLoss: () => undefined, onBroken: () => undefined };
    await listenToPacketLog(first, GROUP, silent);
    const second = await openKernelSocket(name);
    cleanup.push(() => second.close());
    await expect(listenToPacketLog(second, GROUP, silent)).rejects.toMatchObject({ code: "EPERM" });
    first.close();
    await eventually(async () => {
      const third = await openKernelSocket(name);
      cleanup.push(() => third.close());
      await listenToPacketLog(third, GROUP, silent);
    });
  });
});
