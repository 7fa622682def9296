import { describe, expect, test } from "vitest";
import { formatAddress, parseAddress } from "../ip/address.ts";
import { FakeSystem } from "../sys/fake.ts";
import { FakeFiles } from "../sys/fake-files.ts";
import { ReservationStore } from "./store.ts";

const DIRECTORY = "/data/net";
const owner = { containerId: "c1", ifName: "eth0" };
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function machine(present: Record<string, string> = {}): FakeSystem {
  const system = new FakeSystem();
  system.makeDirectory(DIRECTORY);
  for (const [name, content] of Object.entries(present)) system.writeFile(`${DIRECTORY}/${name}`, bytes(content));
  return system;
}

const open = (system: FakeSystem): ReservationStore => ReservationStore.open(system, "/data", "net");
const files = (system: FakeSystem): Record<string, string> => system.files.snapshot();
const addresses = (found: { address: Parameters<typeof formatAddress>[0] }[]): string[] =>
  found.map(({ address }) => formatAddress(address)).sort();

describe("a reservation on disk", () => {
  test("has the reference's file names, contents and modes", () => {
    const system = new FakeSystem();
    const store = open(system);
    expect(store.reserve(parseAddress("10.0.0.5"), owner, 0)).toBe(true);
    expect(store.reserve(parseAddress("fd00::5"), owner, 1)).toBe(true);
    store.close();
    expect(files(system)).toEqual({
      "/data/net/10.0.0.5": "c1\r\neth0",
      "/data/net/fd00::5": "c1\r\neth0",
      "/data/net/last_reserved_ip.0": "10.0.0.5",
      "/data/net/last_reserved_ip.1": "fd00::5",
      "/data/net/lock": "",
    });
    expect(system.status("/data/net")?.mode).toBe(0o755);
    for (const name of ["10.0.0.5", "last_reserved_ip.0", "lock"]) {
      expect([name, system.status(`/data/net/${name}`)?.mode]).toEqual([name, 0o600]);
    }
    expect(system.openCount).toBe(0);
  });

  test("is not taken from its owner, even if the file is empty", () => {
    const system = machine({ "10.0.0.5": "other\r\neth0", "10.0.0.6": "" });
    const store = open(system);
    expect(store.reserve(parseAddress("10.0.0.5"), owner, 0)).toBe(false);
    expect(store.reserve(parseAddress("10.0.0.6"), owner, 0)).toBe(false);
    expect(files(system)).toEqual({
      "/data/net/10.0.0.5": "other\r\neth0",
      "/data/net/10.0.0.6": "",
      "/data/net/lock": "",
    });
  });

  test("is complete or absent after a crash at any system call", () => {
    class Death extends Error {}
    let died = 0;
    for (let survived = 0; ; survived++) {
      const system = machine();
      const store = open(system);
      let calls = 0;
      system.files.fault = () => {
        // A dead process runs no clean-up.
        if (calls++ >= survived) throw new Death();
        return undefined;
      };
      try {
        store.reserve(parseAddress("10.0.0.5"), owner, 0);
        break;
      } catch (error) {
        if (!(error instanceof Death)) throw error;
        died++;
      }
      system.files.fault = undefined;
      store.close(); // The kernel releases the lock of a dead process.
      const left = files(system);
      expect(left["/data/net/10.0.0.5"] ?? "c1\r\neth0").toBe("c1\r\neth0");
      // The next process handles the remains and leaves finished reservations unchanged.
      const next = open(system);
      expect(next.reserve(parseAddress("10.0.0.6"), { containerId: "c2", ifName: "eth0" }, 0)).toBe(true);
      const { "/data/net/.reservation": _, ...finished } = left;
      expect(files(system)).toEqual({
        ...finished,
        "/data/net/10.0.0.6": "c2\r\neth0",
        "/data/net/last_reserved_ip.0": "10.0.0.6",
      });
    }
    expect(died).toBeGreaterThan(4);
  });

  test("is not affected by an incomplete one of a dead process", () => {
    const system = machine({ ".reservation": "c9\r" });
    expect(open(system).reserve(parseAddress("10.0.0.5"), owner, 0)).toBe(true);
    expect(files(system)).toEqual({
      "/data/net/10.0.0.5": "c1\r\neth0",
      "/data/net/last_reserved_ip.0": "10.0.0.5",
      "/data/net/lock": "",
    });
  });

  test.each([
    ["open", "/data/net/.reservation", 28],
    ["link", "/data/net/10.0.0.5", 5],
    ["open", "/data/net/last_reserved_ip.0", 28],
  ])("that fails at %s %s leaves no file", (call, path, errno) => {
    const system = machine();
    const store = open(system);
    system.files.fault = (failing, subject) => (failing === call && subject === path ? errno : undefined);
    expect(() => store.reserve(parseAddress("10.0.0.5"), owner, 0)).toThrow(path);
    system.files.fault = undefined;
    expect(files(system)).toEqual({ "/data/net/lock": "" });
    expect(store.reserve(parseAddress("10.0.0.5"), owner, 0)).toBe(true);
  });

  test.each([
    ["EPERM", 1],
    ["EOPNOTSUPP", 95],
  ])("is written in place if the file system has no hard links (%s)", (_, errno) => {
    const system = machine({ "10.0.0.6": "other\r\neth0" });
    const store = open(system);
    system.files.fault = (call) => (call === "link" ? errno : undefined);
    expect(store.reserve(parseAddress("10.0.0.5"), owner, 0)).toBe(true);
    expect(store.reserve(parseAddress("10.0.0.6"), owner, 0)).toBe(false);
    system.files.fault = (call, path) =>
      call === "link" ? errno : call === "open" && path.endsWith("/10.0.0.7") ? 28 : undefined;
    expect(() => store.reserve(parseAddress("10.0.0.7"), owner, 0)).toThrow("no space left");
    system.files.fault = undefined;
    expect(files(system)).toEqual({
      "/data/net/10.0.0.5": "c1\r\neth0",
      "/data/net/10.0.0.6": "other\r\neth0",
      "/data/net/last_reserved_ip.0": "10.0.0.5",
      "/data/net/lock": "",
    });
  });

  test("is valid even if its temporary name could not be removed", () => {
    const system = machine();
    const store = open(system);
    system.files.fault = (call, path) => (call === "unlink" && path.endsWith("/.reservation") ? 5 : undefined);
    expect(store.reserve(parseAddress("10.0.0.5"), owner, 0)).toBe(true);
    system.files.fault = undefined;
    expect(store.reserve(parseAddress("10.0.0.6"), { containerId: "c2", ifName: "eth0" }, 0)).toBe(true);
    expect(files(system)).toMatchObject({ "/data/net/10.0.0.5": "c1\r\neth0", "/data/net/10.0.0.6": "c2\r\neth0" });
    expect(Object.keys(files(system))).not.toContain("/data/net/.reservation");
  });
});

describe("reservations are found", () => {
  const present = {
    "10.0.0.2": "c1\r\neth0",
    "10.0.0.3": "c1\r\neth1",
    "10.0.0.4": "c1",
    "10.0.0.5": "c2\n",
    "10.0.0.6": "",
    "fd00::2": " c1\r\neth0\n",
    "last_reserved_ip.0": "10.0.0.4",
    "last_reserved_ip.1": "",
    ".reservation": "c1\r\neth0",
    "10.0.0.7.bak": "c1\r\neth0",
    notes: "c1\r\neth0",
  };

  test("by their names, ignoring all other files", () => {
    const system = machine(present);
    system.makeDirectory(`${DIRECTORY}/10.0.0.9`);
    expect(addresses(open(system).list())).toEqual([
      "10.0.0.2",
      "10.0.0.3",
      "10.0.0.4",
      "10.0.0.5",
      "10.0.0.6",
      "fd00::2",
    ]);
  });

  test("by container and interface, or by container alone if the file names no interface", () => {
    const store = open(machine(present));
    expect(addresses(store.listOf(owner))).toEqual(["10.0.0.2", "fd00::2"]);
    expect(addresses(store.listOf({ containerId: "c1", ifName: "eth7" }))).toEqual(["10.0.0.4"]);
    expect(addresses(store.listOf({ containerId: "c2", ifName: "eth0" }))).toEqual(["10.0.0.5"]);
    expect(addresses(store.listOf({ containerId: "c", ifName: "eth0" }))).toEqual([]);
  });

  test("by address", () => {
    const store = open(machine(present));
    expect(store.find(parseAddress("10.0.0.3"))).toMatchObject({ containerId: "c1", ifName: "eth1" });
    expect(store.find(parseAddress("10.0.0.6"))).toMatchObject({ containerId: "", ifName: undefined });
    expect(store.find(parseAddress("10.0.0.9"))).toBeUndefined();
    expect([store.isReserved(parseAddress("fd00::2")), store.isReserved(parseAddress("10.0.0.9"))]).toEqual([
      true,
      false,
    ]);
  });

  test("and released; releasing again succeeds", () => {
    const system = machine(present);
    const store = open(system);
    for (const _ of [1, 2]) store.release({ address: parseAddress("10.0.0.2"), ...owner });
    expect(store.isReserved(parseAddress("10.0.0.2"))).toBe(false);
    expect(Object.keys(files(system))).not.toContain("/data/net/10.0.0.2");
  });

  test("with the cursor of each range set, undefined if its file is empty or absent", () => {
    const store = open(machine(present));
    expect([0, 1, 2].map((index) => store.lastReserved(index))).toEqual([
      parseAddress("10.0.0.4"),
      undefined,
      undefined,
    ]);
  });
});

describe("the store", () => {
  test("is locked by one process at a time", () => {
    const shared = new FakeFiles();
    const [one, two] = [new FakeSystem({ files: shared }), new FakeSystem({ files: shared })];
    const store = open(one);
    expect(two.lockFile(`${DIRECTORY}/lock`, { wait: false })).toBeUndefined();
    store.close();
    expect(two.lockFile(`${DIRECTORY}/lock`, { wait: false })).toBeDefined();
  });

  test("is not created by openExisting", () => {
    const system = new FakeSystem();
    expect(ReservationStore.openExisting(system, "/data", "net")).toBeUndefined();
    expect(system.status("/data")).toBeUndefined();
    expect(ReservationStore.openExisting(machine(), "/data", "net")).toBeDefined();
  });

  test("is writable if its lock can be opened, locked or not", () => {
    const system = machine();
    const store = open(system);
    ReservationStore.assertWritable(system, "/data", "net");
    store.close();
    system.files.fault = (call) => (call === "open" ? 30 : undefined);
    expect(() => ReservationStore.assertWritable(system, "/data", "net")).toThrow("read-only file system");
  });
});
