import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../pkg/ip/address.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import type { StreamScript } from "../../pkg/sys/fake-sockets.ts";
import { Firewalld } from "./firewalld.ts";

const ADDRESS = parseAddress("10.22.0.2");
const BUS = "/run/dbus/system_bus_socket";
const bytes = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

/** Name -> the lines of a recorded conversation. */
const RECORDED = new Map(
  readFileSync("test/vectors/dbus/firewalld.txt", "utf8")
    .split(/^\[/m)
    .slice(1)
    .map((part) => {
      const [name = "", ...lines] = part.trim().split("\n");
      return [name.replace("]", ""), lines] as const;
    }),
);

/**
 * Replays the recorded answers, and expects exactly the recorded requests. `cut` is the size of the pieces in which
 * answers arrive.
 */
function replay(name: string, cut = 1 << 20): () => StreamScript {
  return () => {
    const lines = [...(RECORDED.get(name) ?? [])];
    return (data) => {
      const sent = Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
      expect(`> ${sent}`).toBe(lines.shift());
      const answer = bytes(lines.shift()?.slice(2) ?? "");
      return Array.from({ length: Math.ceil(answer.length / cut) }, (_, at) => answer.slice(at * cut, (at + 1) * cut));
    };
  };
}

const use = <T>(server: () => StreamScript, work: (firewalld: Firewalld | undefined) => T): T => {
  const system = new FakeSystem({ servers: { [BUS]: server } });
  const firewalld = Firewalld.open(system, "trusted");
  try {
    return work(firewalld);
  } finally {
    firewalld?.close();
    expect(system.openCount).toBe(0);
  }
};

describe.each([1 << 20, 7, 1])("recorded answers in pieces of %i bytes", (cut) => {
  test.each(["addSource", "addSource-again"])("%s adds the address to the zone", (name) => {
    use(replay(name, cut), (firewalld) => firewalld?.add(ADDRESS));
  });
  test.each(["removeSource", "removeSource-again"])("%s removes it", (name) => {
    use(replay(name, cut), (firewalld) => firewalld?.remove(ADDRESS));
  });
  test("querySource finds it", () => {
    expect(use(replay("querySource", cut), (firewalld) => firewalld?.holds(ADDRESS))).toBe(true);
  });
});

test("reports other errors", () => {
  const refused = () => {
    const play = replay("removeSource-again")();
    return (data: Uint8Array) =>
      play(data).map((answer) =>
        Uint8Array.from(Buffer.from(Buffer.from(answer).toString("latin1").replace("UNKNOWN_", "ANOTHER_"), "latin1")),
      );
  };
  expect(() => use(refused, (firewalld) => firewalld?.remove(ADDRESS))).toThrow(
    /FirewallD1\.zone\.removeSource\(trusted, 10\.22\.0\.2\/32\): ANOTHER_SOURCE/,
  );
});

test("makes no call if there is no bus", () => {
  expect(Firewalld.open(new FakeSystem(), "trusted")).toBe(undefined);
});

test("reports a firewalld that stops answering with advice, and does not call it again", () => {
  let sent = 0;
  const falling = () => {
    const play = replay("addSource")();
    // The authentication, Hello and NameHasOwner are answered.
    return (data: Uint8Array) => (++sent <= 3 ? play(data) : []);
  };
  use(falling, (firewalld) => {
    const refused = expect.objectContaining({
      code: 11,
      message: expect.stringMatching(/addSource\(trusted, .*D-Bus at \/run\/.* does not answer.*backend to "nftables"/),
    });
    expect(() => firewalld?.add(ADDRESS)).toThrow(refused);
    const before = sent;
    expect(() => firewalld?.remove(ADDRESS)).toThrow(/does not answer/);
    expect(sent).toBe(before);
  });
});
