import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { formatAddress, parseAddress } from "../ip/address.ts";
import { BOOT_ID_FILE } from "../sys/boot.ts";
import { FakeSystem } from "../sys/fake.ts";
import { ReservationStore } from "./store.ts";

const DIRECTORY = "/data/net";
const INDEX = "/data/.weft/net";
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const ownerOf = (containerId: string) => ({ containerId, ifName: "eth0" });

function boot(system: FakeSystem, id: string): FakeSystem {
  system.makeDirectory("/proc/sys/kernel/random");
  system.writeFile(BOOT_ID_FILE, bytes(`${id}\n`));
  return system;
}

const machine = () => boot(new FakeSystem(), "first");

function inStore<T>(system: FakeSystem, work: (store: ReservationStore) => T): T {
  const store = ReservationStore.open(system, "/data", "net");
  try {
    return work(store);
  } finally {
    store.close();
  }
}

function reserve(system: FakeSystem, containerId: string, ...addresses: string[]): void {
  inStore(system, (store) => {
    expect(store.listOfNew(ownerOf(containerId))).toEqual([]);
    for (const [set, address] of addresses.entries()) {
      expect(store.reserve(parseAddress(address), ownerOf(containerId), set)).toBe(true);
    }
  });
}

function release(system: FakeSystem, containerId: string): void {
  inStore(system, (store) => {
    for (const reservation of store.listOf(ownerOf(containerId))) store.release(reservation);
  });
}

/** Writes a file as another program would: in the same millisecond, without updating the index. */
const foreign = (system: FakeSystem, name: string, content: string) =>
  system.writeFile(`${DIRECTORY}/${name}`, bytes(content));

const listed = (system: FakeSystem, containerId: string): string[] =>
  inStore(system, (store) => store.listOf(ownerOf(containerId)).map(({ address }) => formatAddress(address)));

const reserved = (system: FakeSystem): string[] =>
  system
    .readDirectory(DIRECTORY)
    .filter((name) => /[.:]/.test(name) && !name.startsWith("last"))
    .sort();

/** Returns the contents of the index's files. */
const shards = (system: FakeSystem): string[] =>
  Object.entries(system.files.snapshot())
    .filter(([path]) => path.startsWith(INDEX))
    .map(([, text]) => text);

const indexLines = (system: FakeSystem): string[] =>
  shards(system)
    .flatMap((text) => text.split("\n"))
    .filter((line) => line !== "")
    .sort();

/** A runtime's id: 64 hexadecimal digits. */
const idOf = (at: number): string => createHash("sha256").update(String(at)).digest("hex");

/** Returns the system calls of `work`, by name. */
function callsOf(system: FakeSystem, work: () => void): string[] {
  const calls: string[] = [];
  system.files.fault = (call, path) => {
    calls.push(call === "open" && path === DIRECTORY ? "opendir" : call);
    return undefined;
  };
  work();
  system.files.fault = undefined;
  return calls;
}

describe("the index", () => {
  test("lists each owner's addresses, in a directory named after the boot next to the network's", () => {
    const system = machine();
    reserve(system, "c1", "10.0.0.5", "fd00::5");
    reserve(system, "c2", "10.0.0.6");
    expect(indexLines(system)).toEqual(["c1@eth0 10.0.0.5", "c1@eth0 fd00::5", "c2@eth0 10.0.0.6"]);
    expect(system.readDirectory(INDEX)).toEqual(["first"]);
    release(system, "c1");
    expect(indexLines(system)).toEqual(["c2@eth0 10.0.0.6"]);
    expect(reserved(system)).toEqual(["10.0.0.6"]);
  });

  test("keeps the system calls of ADD and DEL the same for 60,000 reservations as for one, and their files short", () => {
    const few = machine();
    const many = machine();
    many.makeDirectory(DIRECTORY);
    for (let at = 0; at < 60_000; at++) foreign(many, `10.1.${at >> 8}.${at & 255}`, `${idOf(at)}\r\neth0`);
    inStore(many, (store) => store.list());
    // The ids end alike, so that both are in one file.
    const [present, fresh] = [`1-${idOf(0).slice(-12)}`, `2-${idOf(0).slice(-12)}`];
    for (const system of [few, many]) reserve(system, present, "10.9.0.1");
    const life = (system: FakeSystem) =>
      callsOf(system, () => {
        reserve(system, fresh, "10.2.0.1");
        release(system, fresh);
      });
    expect(life(many)).toEqual(life(few));
    expect(life(few).length).toBeLessThan(50);
    expect(life(few)).not.toContain("opendir");
    const longest = Math.max(...shards(many).map((text) => text.length));
    expect(longest).toBeLessThan(4096);
    expect(Math.max(...shards(few).map((text) => text.length))).toBeGreaterThan(0);
  });

  test.each<[string, (system: FakeSystem) => void]>([
    ["adds a file", (system) => foreign(system, "10.0.0.9", "c9\r\neth0")],
    [
      "removes a file and adds one",
      (system) => {
        system.unlink(`${DIRECTORY}/10.0.0.5`);
        foreign(system, "10.0.0.9", "c9\r\neth0");
      },
    ],
    [
      "recreates the directory",
      (system) => {
        system.rename(DIRECTORY, "/data/old");
        system.makeDirectory(DIRECTORY);
        foreign(system, "10.0.0.9", "c9\r\neth0");
      },
    ],
  ])("is rebuilt if another program %s, even in the same millisecond", (_, change) => {
    const system = machine();
    reserve(system, "c1", "10.0.0.5");
    change(system);
    inStore(system, (store) => expect(store.listOfNew(ownerOf("c9"))).toHaveLength(1));
    expect(indexLines(system)).toContain("c9@eth0 10.0.0.9");
    expect(indexLines(system)).toHaveLength(reserved(system).length);
  });

  test("if wrong, never leases an address twice, and DEL finds unlisted reservations", () => {
    const system = machine();
    reserve(system, "c1", "10.0.0.5");
    const [shard = ""] = system.readDirectory(`${INDEX}/first`);
    const before = system.status(`${INDEX}/first`)?.modifiedMs ?? 0;
    for (const text of ["", "c1@eth0 10.0.0.77", "c1@eth0 ../../../etc/passwd", "\0\n@@@"]) {
      system.writeFile(`${INDEX}/first/${shard}`, bytes(text));
      system.setModified(`${INDEX}/first`, before);
      inStore(system, (store) => expect(store.reserve(parseAddress("10.0.0.5"), ownerOf("c7"), 0)).toBe(false));
      expect(listed(system, "c1")).toEqual(["10.0.0.5"]);
    }
    release(system, "c1");
    expect(reserved(system)).toEqual([]);
  });

  test("is not used if it cannot be written", () => {
    const system = machine();
    system.files.fault = (call, path) => (path.startsWith(INDEX) && call !== "stat" ? 28 : undefined);
    reserve(system, "c1", "10.0.0.5");
    expect(listed(system, "c1")).toEqual(["10.0.0.5"]);
    inStore(system, (store) => expect(store.listOfNew(ownerOf("c1"))).toHaveLength(1));
    release(system, "c1");
    expect(reserved(system)).toEqual([]);
  });

  test("is correct or ignored after a crash at any system call", () => {
    class Death extends Error {}
    let died = 0;
    for (let survived = 0; ; survived++) {
      const system = machine();
      reserve(system, "c1", "10.0.0.5", "fd00::5");
      let calls = 0;
      system.files.fault = () => {
        if (calls++ >= survived) throw new Death();
        return undefined;
      };
      try {
        release(system, "c1");
        reserve(system, "c2", "10.0.0.6", "fd00::6");
        break;
      } catch (error) {
        if (!(error instanceof Death)) throw error;
        died++;
      }
      system.files.fault = undefined;
      for (const id of ["c1", "c2"]) {
        const held = inStore(system, (store) => store.listOfNew(ownerOf(id)).length);
        expect([id, held]).toEqual([id, inStore(system, (store) => store.listOf(ownerOf(id)).length)]);
        release(system, id);
      }
      expect(reserved(system).filter((name) => name !== ".reservation")).toEqual([]);
      expect(indexLines(system)).toEqual([]);
    }
    expect(died).toBeGreaterThan(30);
  });
});

describe("the index of a version with fewer shards", () => {
  /** Moves each line of the index to a shard with a shorter name, and sets the times as that version did. */
  function earlier(): FakeSystem {
    const system = machine();
    reserve(system, "c1", "10.0.0.5");
    const path = `${INDEX}/first`;
    for (const shard of system.readDirectory(path)) system.rename(`${path}/${shard}`, `${path}/${shard.slice(1)}`);
    const savedMs = Math.floor(system.status(DIRECTORY)?.modifiedMs ?? 0) + 0.5;
    for (const each of [path, DIRECTORY]) system.setModified(each, savedMs);
    return system;
  }

  test("is rebuilt, and hides no reservation from a repeated ADD", () => {
    const system = earlier();
    const found = inStore(system, (store) => store.listOfNew(ownerOf("c1")));
    expect(found.map(({ address }) => formatAddress(address))).toEqual(["10.0.0.5"]);
    expect(indexLines(system)).toEqual(["c1@eth0 10.0.0.5"]);
  });

  test("is evidence of earlier reservations after a reboot", () => {
    const system = boot(earlier(), "second");
    reserve(system, "c2", "10.0.0.9");
    expect(reserved(system)).toEqual(["10.0.0.9"]);
  });
});

describe("after a reboot", () => {
  function started(): FakeSystem {
    const system = machine();
    reserve(system, "c1", "10.0.0.5");
    reserve(system, "c2", "10.0.0.6");
    return system;
  }
  const start = (system: FakeSystem) => boot(system, "second");

  test("the first call releases earlier reservations, later calls release none", () => {
    const system = start(started());
    reserve(system, "c1", "10.0.0.9");
    expect(reserved(system)).toEqual(["10.0.0.9"]);
    expect(system.readDirectory(INDEX)).toEqual(["second"]);
    expect(indexLines(system)).toEqual(["c1@eth0 10.0.0.9"]);
    reserve(system, "c3", "10.0.0.10");
    expect(reserved(system)).toEqual(["10.0.0.10", "10.0.0.9"]);
  });

  test("a DEL as the first call releases earlier reservations, too", () => {
    const system = start(started());
    release(system, "unknown");
    expect(reserved(system)).toEqual([]);
  });

  test("files truncated by a power failure are released, files made by hand are kept", () => {
    const system = started();
    const before = system.status(DIRECTORY)?.modifiedMs ?? 0;
    for (const name of ["10.0.0.5", "10.0.0.8"]) foreign(system, name, "");
    foreign(system, "notes", "");
    system.setModified(DIRECTORY, before);
    release(start(system), "unknown");
    expect(reserved(system)).toEqual(["10.0.0.8"]);
    expect(system.status(`${DIRECTORY}/notes`)).toBeDefined();
  });

  test("a file made by hand is kept even if the index lists it", () => {
    const system = started();
    foreign(system, "10.0.0.8", "reserved\n");
    reserve(system, "c5", "10.0.0.7");
    reserve(start(system), "c9", "10.0.0.9");
    expect(reserved(system)).toEqual(["10.0.0.8", "10.0.0.9"]);
  });

  test("keeps reservations that the Go plugin may have made since, and files made by hand", () => {
    const system = start(started());
    foreign(system, "10.0.0.7", "c7\r\neth0");
    foreign(system, "10.0.0.8", "");
    reserve(system, "c9", "10.0.0.9");
    expect(reserved(system)).toEqual(["10.0.0.7", "10.0.0.8", "10.0.0.9"]);
    expect(listed(system, "c7")).toEqual(["10.0.0.7"]);
  });

  test("keeps a newer reservation with the same name and owner", () => {
    const system = start(started());
    system.sleep(60_000);
    system.unlink(`${DIRECTORY}/10.0.0.5`);
    foreign(system, "10.0.0.5", "c1\r\neth0");
    reserve(system, "c9", "10.0.0.9");
    expect(reserved(system)).toEqual(["10.0.0.5", "10.0.0.9"]);
  });

  test("nothing is released in a directory without an index", () => {
    const system = boot(new FakeSystem(), "second");
    system.makeDirectory(DIRECTORY);
    foreign(system, "10.0.0.5", "c1\r\neth0");
    foreign(system, "10.0.0.6", "");
    reserve(system, "c9", "10.0.0.9");
    expect(reserved(system)).toEqual(["10.0.0.5", "10.0.0.6", "10.0.0.9"]);
  });

  test("a reservation that cannot be released does not stop the release of the others", () => {
    const system = start(started());
    system.files.fault = (call, path) => (call === "unlink" && path.endsWith(".5") ? 1 : undefined);
    reserve(system, "c9", "10.0.0.9");
    system.files.fault = undefined;
    expect(reserved(system)).toEqual(["10.0.0.5", "10.0.0.9"]);
    expect(listed(system, "c1")).toEqual(["10.0.0.5"]);
  });

  test("after a crash during the release the next call continues, and keeps reservations of this boot", () => {
    class Death extends Error {}
    for (let survived = 0; ; survived++) {
      const system = start(started());
      let calls = 0;
      system.files.fault = () => {
        if (calls++ >= survived) throw new Death();
        return undefined;
      };
      let isWhole = false;
      try {
        reserve(system, "c8", "10.0.0.8");
        isWhole = true;
      } catch (error) {
        if (!(error instanceof Death)) throw error;
      }
      system.files.fault = undefined;
      const now = [...reserved(system)].filter((name) => name === "10.0.0.8");
      reserve(system, "c9", "10.0.0.9");
      expect(reserved(system).filter((name) => name !== ".reservation")).toEqual([...now, "10.0.0.9"]);
      if (isWhole) break;
    }
  });
});
