import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { ByteWriter, viewOf } from "../../../pkg/netlink/bytes.ts";
import { type Encodable, NLMSG_DONE, NLMSG_ERROR, query, writeRequest } from "../../../pkg/netlink/message.ts";
import { NFULNL_MSG_CONFIG, NFULNL_MSG_PACKET } from "../../../pkg/netlink/nflog.ts";
import { SystemError } from "../../../pkg/sys/errors.ts";
import type { EventNetlinkSocket } from "../../../pkg/sys/event-netlink.ts";
import type { Logger } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Runner } from "../../core/runner.ts";
import { Fact } from "../../core/topic.ts";
import type { PolicyState } from "../facts.ts";
import { policyLogController } from "./policy-log.ts";

const [EPERM, EINVAL, ENOBUFS, EBADF] = [1, 22, 105, 9];
const settled = () => new Promise((resolve) => setImmediate(resolve));
const STATE = { mode: "enforce", hasPolicies: true, fail: "closed" } as const;

/** Acknowledges each request with `errno`. */
class LogSocket implements EventNetlinkSocket {
  readonly port = 1;
  readonly errno: number;
  readonly sent: Uint8Array[] = [];
  isClosed = false;
  onData: (datagram: Uint8Array) => void = () => undefined;
  fail: (error: SystemError) => void = () => undefined;

  constructor(errno: number) {
    this.errno = errno;
  }
  send(datagram: Uint8Array): void {
    this.sent.push(datagram.slice());
    const writer = new ByteWriter();
    for (const word of [36, NLMSG_ERROR, viewOf(datagram).getUint32(8, true), 0]) writer.u32(word);
    writer.i32(-this.errno);
    writer.bytes(datagram.subarray(0, 16));
    queueMicrotask(() => this.onData(writer.finish()));
  }
  onDatagram(listener: (datagram: Uint8Array) => void): void {
    this.onData = listener;
  }
  onError(listener: (error: SystemError) => void): void {
    this.fail = listener;
  }
  addMembership(): void {}
  setReceiveBufferBytes(): void {}
  ignore(): void {}
  close(): void {
    this.isClosed = true;
  }
}

function bench(...errnos: readonly number[]) {
  const clock = new ManualClock();
  clock.chance = 1;
  const warnings: string[] = [];
  const log = { warn: (_: object, text: string) => warnings.push(text) } as unknown as Logger;
  const state = new Fact<PolicyState>("state");
  const sockets: LogSocket[] = [];
  const seen: string[] = [];
  const runner = new Runner({
    ...{ clock, log, metrics: new Metrics(), kernel: { snapshot: () => Promise.reject(new Error()) } },
  });
  runner.start(
    policyLogController({
      ...{ log, state, group: 119 },
      denyLog: {
        onPacket: ({ prefix, bytes }) => seen.push(`${prefix} ${bytes.length}`),
        onLoss: () => seen.push("loss"),
        stop: () => seen.push("stop"),
      },
      open: () => {
        const socket = new LogSocket(errnos[sockets.length] ?? 0);
        sockets.push(socket);
        return socket;
      },
    }),
  );
  const enforce = async (mode: PolicyState["mode"] = "enforce") => {
    state.publish({ ...STATE, mode });
    await advance(10);
  };
  const advance = async (ms: number) => {
    for (let left = ms; left > 0; left -= 10) {
      clock.advance(10);
      for (let turn = 0; turn < 3; turn++) await settled();
    }
  };
  return { clock, warnings, sockets, seen, runner, enforce, advance };
}

function datagram(...messages: readonly Encodable[]): Uint8Array {
  const writer = new ByteWriter();
  for (const message of messages) writeRequest(writer, message, 0, 0);
  return writer.finish();
}
const logged = (prefix: string) =>
  query(NFULNL_MSG_PACKET, "", { resourceId: 119 }, { prefix, payload: new Uint8Array(5) });
const done = query({ ...NFULNL_MSG_CONFIG, type: NLMSG_DONE }, "", {}, {});

test("binds the group once policies are in force, with the bytes of each packet and the delay", async () => {
  const { sockets, enforce } = bench();
  await enforce();
  const [request] = sockets[0]?.sent ?? [];
  // struct nlmsghdr, struct nfgenmsg with the group, then NFULA_CFG_CMD, _MODE, _TIMEOUT and _QTHRESH.
  expect(Buffer.from(request ?? []).toString("hex")).toBe(
    [
      ...["38000000", "0104", "0500", "01000000", "00000000", "00000077"],
      ...["0500010001000000", "0a000200000000800200", "0000", "0800040000000005", "0800050000000020"],
    ].join(""),
  );
});

test("passes on each packet of a datagram, and survives lost and unreadable ones", async () => {
  const { sockets, seen, enforce } = bench();
  await enforce();
  const [socket] = sockets;
  socket?.onData(datagram(logged("weft deny 1"), logged("weft deny 2"), done));
  socket?.fail(new SystemError("recv", "netlink", ENOBUFS));
  socket?.onData(Uint8Array.of(255, 255, 0, 0, ...new Array<number>(12).fill(0)));
  socket?.onData(datagram(logged("weft deny 3")));
  expect(seen).toEqual(["weft deny 1 5", "weft deny 2 5", "loss", "loss", "weft deny 3 5"]);
  expect([sockets.length, socket?.isClosed]).toEqual([1, false]);
});

test("does not bind while policies are off, and releases the group when they are turned off", async () => {
  const { sockets, enforce } = bench();
  await enforce("off");
  expect(sockets).toHaveLength(0);
  await enforce("audit");
  expect(sockets).toHaveLength(1);
  await enforce("off");
  expect(sockets[0]?.isClosed).toBe(true);
});

test("tries again while another program has the group", async () => {
  const { sockets, warnings, enforce, advance } = bench(EPERM, EPERM);
  await enforce();
  await advance(5000);
  expect(sockets.map(({ isClosed }) => isClosed)).toEqual([true, true, false]);
  expect(warnings).toEqual(["pass of a controller failed", "pass of a controller failed"]);
});

test("a kernel without nfnetlink_log causes one warning", async () => {
  const { sockets, warnings, enforce, advance } = bench(EINVAL);
  await enforce();
  await enforce("audit");
  await advance(70_000);
  expect(sockets.map(({ isClosed }) => isClosed)).toEqual([true]);
  expect(warnings).toEqual(["the kernel has no nfnetlink_log; denied packets are counted, but not logged"]);
});

test("opens another socket if the first one breaks", async () => {
  const { sockets, seen, enforce, advance } = bench();
  await enforce();
  sockets[0]?.fail(new SystemError("recv", "netlink", EBADF));
  await advance(2000);
  expect(sockets.map(({ isClosed }) => isClosed)).toEqual([true, false]);
  sockets[1]?.onData(datagram(logged("weft deny 4")));
  expect(seen).toEqual(["weft deny 4 5"]);
});

test("stops with the controller", async () => {
  const { sockets, seen, runner, enforce } = bench();
  await enforce();
  await runner.stop();
  expect([sockets[0]?.isClosed, seen]).toEqual([true, ["stop"]]);
});
