import { describe, expect, test, vi } from "vitest";
import { SystemError } from "../sys/errors.ts";
import type { EventNetlinkSocket } from "../sys/event-netlink.ts";
import type { NetlinkSocket } from "../sys/system.ts";
import { BlockingNetlink } from "./blocking.ts";
import { ByteWriter } from "./bytes.ts";
import { isExists, NetlinkError } from "./errors.ts";
import { EventedNetlink } from "./evented.ts";
import { RTM_GETLINK, RTM_NEWLINK } from "./link.ts";
import { decode, dumpRequest, NLM_F_DUMP_INTR, NLM_F_MULTI, query, request, splitDatagram } from "./message.ts";

/** Simulates the kernel: returns the datagrams that answer the requests of one datagram. */
type Kernel = (requests: ReturnType<typeof splitDatagram>) => Uint8Array[];

function answer(type: number, flags: number, sequence: number, payload: Uint8Array): Uint8Array {
  const to = new ByteWriter();
  to.u32(16 + payload.length);
  to.u16(type);
  to.u16(flags);
  to.u32(sequence);
  to.u32(1);
  to.bytes(payload);
  to.align4();
  return to.finish();
}

/** NLMSG_ERROR with the request's header repeated (capped) and, with `text`, NLMSGERR_ATTR_MSG. */
function acknowledge(sequence: number, errno: number, text?: string): Uint8Array {
  const to = new ByteWriter();
  to.i32(-errno);
  to.zeros(16);
  if (text !== undefined) {
    to.u16(4 + text.length + 1);
    to.u16(1);
    to.bytes(new TextEncoder().encode(`${text}\0`));
    to.align4();
  }
  return answer(2, 0x100 | (text === undefined ? 0 : 0x200), sequence, to.finish());
}

const linkPayload = (index: number) => query(RTM_NEWLINK, "", { index }, { ifname: `eth${index}` }).body;
const done = (sequence: number, flags = 0) => answer(3, NLM_F_MULTI | flags, sequence, Uint8Array.of(0, 0, 0, 0));
const anyLink = query(RTM_GETLINK, "ip link show eth0", {}, { ifname: "eth0" });
/** Any type is possible: a batch does not check it. */
const anyChange = request(RTM_GETLINK, { kind: "link", key: "eth0" }, "ip link set eth0", {}, { ifname: "eth0" });
const allLinks = dumpRequest(RTM_GETLINK, "ip link show", {}, {});

function blocking(kernel: Kernel): BlockingNetlink {
  const queue: Uint8Array[] = [];
  const socket: NetlinkSocket = {
    send: (datagram) => void queue.push(...kernel(splitDatagram(datagram))),
    receive() {
      const next = queue.shift();
      if (next === undefined) throw new SystemError("recv", "netlink", 110);
      return next;
    },
    close: () => undefined,
  };
  return new BlockingNetlink(socket, "a test");
}

const TIMERS = {
  nowMs: () => Date.now(),
  setTimer: (ms: number, action: () => void) => {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
};

/** `pauseMs` is the delay between two datagrams. */
function evented(kernel: Kernel, pauseMs = 0): { netlink: EventedNetlink; fail(error: SystemError): void } {
  let onDatagram: (datagram: Uint8Array) => void = () => undefined;
  let onError: (error: SystemError) => void = () => undefined;
  const socket: EventNetlinkSocket = {
    port: 1,
    send(datagram) {
      for (const [at, reply] of kernel(splitDatagram(datagram)).entries()) {
        if (pauseMs === 0) queueMicrotask(() => onDatagram(reply));
        else setTimeout(() => onDatagram(reply), (at + 1) * pauseMs);
      }
    },
    onDatagram: (listener) => {
      onDatagram = listener;
    },
    onError: (listener) => {
      onError = listener;
    },
    addMembership: () => undefined,
    setReceiveBufferBytes: () => undefined,
    ignore: () => undefined,
    close: () => undefined,
  };
  return { netlink: new EventedNetlink(socket, "a test", TIMERS), fail: (error) => onError(error) };
}

/** The two drivers behave alike; each case runs on both. */
const drivers = [
  [
    "blocking",
    (kernel: Kernel) => {
      const netlink = blocking(kernel);
      return {
        exchange: async (...args: Parameters<BlockingNetlink["exchange"]>) => netlink.exchange(...args),
        dump: async (...args: Parameters<BlockingNetlink["dump"]>) => netlink.dump(...args),
        commit: async (...args: Parameters<BlockingNetlink["commit"]>) => netlink.commit(...args),
      };
    },
  ],
  ["event-driven", (kernel: Kernel) => evented(kernel).netlink],
] as const;

describe.each(drivers)("the %s driver", (_name, open) => {
  test("returns a reply for each request of one datagram", async () => {
    let datagrams = 0;
    const driver = open((requests) => {
      datagrams += 1;
      return requests.map(({ sequence }, index) =>
        acknowledge(sequence, index === 1 ? 17 : 0, index === 1 ? "Name taken" : undefined),
      );
    });
    const [first, second, third] = await driver.exchange([anyLink, anyLink, anyLink]);
    expect(datagrams).toBe(1);
    expect([first?.error, third?.error]).toEqual([undefined, undefined]);
    expect(isExists(second?.error)).toBe(true);
    expect(second?.error?.message).toBe("ip link show eth0 in a test: already exists (EEXIST): Name taken");
  });

  test("splits long request lists so that the answers fit the receive buffer", async () => {
    const sizes: number[] = [];
    const driver = open((requests) => {
      sizes.push(requests.length);
      return requests.map(({ sequence }) => acknowledge(sequence, 0));
    });
    expect(await driver.exchange(Array.from({ length: 150 }, () => anyLink))).toHaveLength(150);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(150);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(64);
  });

  test("collects a dump from several datagrams", async () => {
    const driver = open(([asked]) => {
      const sequence = asked?.sequence ?? 0;
      return [1, 2, 3].map((index) => answer(16, NLM_F_MULTI, sequence, linkPayload(index))).concat(done(sequence));
    });
    const names = (await driver.dump(allLinks)).map((message) => decode(RTM_NEWLINK, message).attributes.ifname);
    expect(names).toEqual(["eth1", "eth2", "eth3"]);
  });

  test("repeats an interrupted dump", async () => {
    let turn = 0;
    const driver = open(([asked]) => {
      const sequence = asked?.sequence ?? 0;
      turn += 1;
      return [answer(16, NLM_F_MULTI, sequence, linkPayload(turn)), done(sequence, turn === 1 ? NLM_F_DUMP_INTR : 0)];
    });
    const links = await driver.dump(allLinks);
    expect(links.map((message) => decode(RTM_NEWLINK, message).header.index)).toEqual([2]);
  });

  test("gives up after repeated interruptions of a dump", async () => {
    const driver = open(([asked]) => [done(asked?.sequence ?? 0, NLM_F_DUMP_INTR)]);
    await expect(driver.dump(allLinks)).rejects.toThrow(/the table changed during each of 8 dumps/);
  });

  test("ignores answers to unknown sequence numbers", async () => {
    const driver = open(([asked]) => [acknowledge(0, 5), acknowledge(asked?.sequence ?? 0, 0)]);
    expect((await driver.exchange([anyLink]))[0]?.error).toBeUndefined();
  });

  test("sends a batch in one datagram, and requests one acknowledgement", async () => {
    let types: number[] = [];
    const driver = open((requests) => {
      types = requests.map(({ type }) => type);
      expect(requests.map(({ flags }) => flags & 4)).toEqual([0, 0, 4, 0]);
      return [acknowledge(requests.at(-2)?.sequence ?? 0, 0)];
    });
    await driver.commit([anyChange, anyChange]);
    expect(types).toEqual([16, 18, 18, 17]);
  });

  test("sends the ruleset generation of a batch, and returns the echoed messages", async () => {
    const payloads: string[] = [];
    const driver = open((requests) => {
      payloads.push(requests[0]?.payload.subarray(4).join() ?? "");
      const [, first, last] = requests.map(({ sequence }) => sequence);
      return [answer(16, 0, first ?? 0, linkPayload(7)), acknowledge(last ?? 0, 0)];
    });
    const echoes = await driver.commit([anyChange, anyChange], 258);
    // NFNL_BATCH_GENID, in network byte order.
    expect(payloads).toEqual(["8,0,1,0,0,0,1,2"]);
    expect(echoes.map((message) => decode(RTM_NEWLINK, message).header.index)).toEqual([7]);
  });

  test("reports the refused message of a batch instead of the last one", async () => {
    const refused = request(RTM_GETLINK, anyChange.object, "nft add rule", {}, {});
    const driver = open((requests) => [
      acknowledge(requests[1]?.sequence ?? 0, 2),
      acknowledge(requests[2]?.sequence ?? 0, 0),
    ]);
    await expect(driver.commit([refused, anyChange])).rejects.toThrow(
      /^nft add rule in a test: no such file or object/,
    );
  });

  test("reports a failed commit", async () => {
    const driver = open((requests) => [acknowledge(requests[0]?.sequence ?? 0, 12)]);
    await expect(driver.commit([anyChange])).rejects.toThrow(NetlinkError);
  });
});

test("the event-driven driver rejects the current call on a socket error, and serves the next", async () => {
  let silent = true;
  const { netlink, fail } = evented((requests) =>
    silent ? [] : requests.map(({ sequence }) => acknowledge(sequence, 0)),
  );
  const first = netlink.exchange([anyLink]);
  await Promise.resolve();
  await Promise.resolve();
  fail(new SystemError("recvmsg", "netlink", 105));
  await expect(first).rejects.toThrow(/ENOBUFS/);
  silent = false;
  expect(await netlink.exchange([anyLink])).toHaveLength(1);
});

test("the event-driven driver waits one minute for a lost answer, and then serves the queued calls", async () => {
  vi.useFakeTimers();
  try {
    let silent = true;
    const lost: number[] = [];
    const { netlink } = evented((requests) => {
      if (!silent) return [...lost, ...requests.map(({ sequence }) => sequence)].map((one) => acknowledge(one, 0));
      lost.push(...requests.map(({ sequence }) => sequence));
      return [];
    });
    const first = netlink.exchange([anyLink]);
    const behind = netlink.exchange([anyLink]);
    const failure = expect(first).rejects.toThrow("the kernel has not answered within 60 seconds (a test)");
    await vi.advanceTimersByTimeAsync(59_000);
    silent = false;
    await vi.advanceTimersByTimeAsync(2000);
    await failure;
    // The late answer arrives in the same datagram and is ignored.
    expect(await behind).toMatchObject([{ error: undefined }]);
  } finally {
    vi.useRealTimers();
  }
});

test("waits without limit for a dump that keeps sending messages", async () => {
  vi.useFakeTimers();
  try {
    const { netlink } = evented((requests) => {
      const sequence = requests[0]?.sequence ?? 0;
      const parts = [1, 2, 3].map((index) => answer(RTM_NEWLINK.type, NLM_F_MULTI, sequence, linkPayload(index)));
      return [...parts, done(sequence)];
    }, 50_000);
    const dump = netlink.dump(allLinks);
    await vi.advanceTimersByTimeAsync(200_000);
    expect(await dump).toHaveLength(3);
  } finally {
    vi.useRealTimers();
  }
});
