import { describe, expect, test } from "vitest";
import { ConfigObject } from "../cni/config.ts";
import { formatAddress, parseAddress } from "../ip/address.ts";
import { BOOT_ID_FILE } from "../sys/boot.ts";
import { FakeSystem } from "../sys/fake.ts";
import { DUPLICATE_ALLOCATION, leaseAddresses } from "./lease.ts";
import { type RangeSet, readRangeSets } from "./ranges.ts";
import { ReservationStore } from "./store.ts";

const small = { subnet: "10.0.0.0/29" };
const other = { subnet: "10.1.0.0/30" };
const six = { subnet: "fd00::/64" };

const sets = (...ranges: object[][]): RangeSet[] => readRangeSets(new ConfigObject({ ranges }), new ConfigObject({}));

function network() {
  const system = new FakeSystem();
  const store = ReservationStore.open(system, "/data", "net");
  const lease = (rangeSets: RangeSet[], containerId: string, ...requested: string[]): string[] =>
    leaseAddresses(store, rangeSets, requested.map(parseAddress), { containerId, ifName: "eth0" }).map(({ address }) =>
      formatAddress(address),
    );
  const reserved = (): string[] =>
    store
      .list()
      .map(({ address }) => formatAddress(address))
      .sort();
  return { system, store, lease, reserved };
}

const refused = (code: number, message: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(message) });

describe("a lease", () => {
  test("has an address of every set, and the next lease continues after it", () => {
    const { lease } = network();
    expect(lease(sets([small], [six]), "c1")).toEqual(["10.0.0.2", "fd00::2"]);
    expect(lease(sets([small], [six]), "c2")).toEqual(["10.0.0.3", "fd00::3"]);
  });

  test("does not reuse a released address while another is free", () => {
    const { store, lease } = network();
    lease(sets([small]), "c1");
    store.release({ address: parseAddress("10.0.0.2"), containerId: "c1", ifName: "eth0" });
    expect(["c2", "c3", "c4", "c5", "c6"].map((id) => lease(sets([small]), id)[0])).toEqual([
      "10.0.0.3",
      "10.0.0.4",
      "10.0.0.5",
      "10.0.0.6",
      "10.0.0.2",
    ]);
  });

  test("skips addresses that other attachments reserved", () => {
    const { system, lease } = network();
    system.writeFile("/data/net/10.0.0.2", new Uint8Array());
    expect(lease(sets([small]), "c1")).toEqual(["10.0.0.3"]);
  });

  test.each([
    { reserved: 60, listed: 1 },
    { reserved: 60_000, listed: 0 },
  ])("that passes 60 reserved addresses of $reserved lists the directory $listed times", ({ reserved, listed }) => {
    const system = new FakeSystem();
    system.makeDirectory("/data/net");
    for (let at = 2; at < reserved + 3; at++) {
      const isFree = at === 62;
      if (!isFree)
        system.writeFile(`/data/net/10.1.${at >> 8}.${at & 255}`, new TextEncoder().encode(`c${at}\r\neth0`));
    }
    system.makeDirectory("/proc/sys/kernel/random");
    system.writeFile(BOOT_ID_FILE, new TextEncoder().encode("boot\n"));
    const inStore = <T>(work: (store: ReservationStore) => T): T => {
      const store = ReservationStore.open(system, "/data", "net");
      const result = work(store);
      store.close();
      return result;
    };
    // Creates the index.
    inStore((store) => store.list());
    let lists = 0;
    system.files.fault = (call, path) => {
      if (call === "open" && path === "/data/net") lists++;
      return undefined;
    };
    const wanted = sets([{ subnet: "10.1.0.0/16" }]);
    const owner = { containerId: "c1", ifName: "eth0" };
    const leased = inStore((store) => leaseAddresses(store, wanted, [], owner));
    expect(leased.map(({ address }) => formatAddress(address))).toEqual(["10.1.0.62"]);
    expect(lists).toBe(listed);
  });

  test("from an exhausted set is refused and reserves nothing from the other sets", () => {
    const { lease, reserved } = network();
    lease(sets([other]), "c1");
    const exhausted = refused(11, "no IP addresses available in range set: 10.1.0.1-10.1.0.2");
    expect(() => lease(sets([small], [other]), "c2")).toThrow(exhausted);
    expect(reserved()).toEqual(["10.1.0.2"]);
  });

  test("never uses addresses that were reserved by hand", () => {
    const { system, lease } = network();
    system.writeFile("/data/net/10.0.0.3", new Uint8Array());
    system.writeFile("/data/net/10.0.0.5", new TextEncoder().encode("printer\n"));
    const given = ["c1", "c2", "c3"].map((id) => lease(sets([small]), id)[0]);
    expect(given).toEqual(["10.0.0.2", "10.0.0.4", "10.0.0.6"]);
    expect(() => lease(sets([small]), "c6")).toThrow("no IP addresses available");
    expect(system.status("/data/net/10.0.0.3")?.sizeBytes).toBe(0);
  });

  test("gives the network and broadcast address if the bounds include them", () => {
    const { lease } = network();
    const wide = sets([{ subnet: "10.0.0.0/30", rangeStart: "10.0.0.0", rangeEnd: "10.0.0.3" }]);
    expect(["c1", "c2", "c3"].map((id) => lease(wide, id)[0])).toEqual(["10.0.0.0", "10.0.0.2", "10.0.0.3"]);
  });

  test("gives the first host of a subnet whose gateway is outside it", () => {
    const { lease } = network();
    expect(lease(sets([{ subnet: "203.0.113.0/29", gateway: "169.254.1.1" }]), "c1")).toEqual(["203.0.113.1"]);
  });

  test("skips many reserved addresses in a row", () => {
    const { system, lease } = network();
    const wide = sets([{ subnet: "10.2.0.0/16" }]);
    for (let at = 2; at < 400; at++) {
      system.writeFile(`/data/net/10.2.${at >> 8}.${at & 255}`, new TextEncoder().encode("other\r\neth0"));
    }
    expect(lease(wide, "c1")).toEqual(["10.2.1.144"]);
    expect(lease(wide, "c2")).toEqual(["10.2.1.145"]);
  });

  test("for an attachment that already has one is refused", () => {
    const { lease, reserved } = network();
    lease(sets([small]), "c1");
    const duplicate = refused(
      DUPLICATE_ALLOCATION,
      "10.0.0.2 has been allocated to c1, duplicate allocation is not allowed",
    );
    expect(() => lease(sets([small]), "c1")).toThrow(duplicate);
    expect(() => lease(sets([small]), "c1", "10.0.0.5")).toThrow(duplicate);
    expect(reserved()).toEqual(["10.0.0.2"]);
    expect(lease(sets([other]), "c1")).toEqual(["10.1.0.2"]);
  });

  test("that cannot be written reserves nothing", () => {
    const { system, lease, reserved } = network();
    system.files.fault = (call, path) => (call === "link" && path.endsWith("fd00::2") ? 28 : undefined);
    expect(() => lease(sets([small], [six]), "c1")).toThrow("no space left");
    system.files.fault = undefined;
    expect(reserved()).toEqual([]);
  });
});

describe("a requested address", () => {
  test("is given from the set that contains it, and the other sets give their next address", () => {
    const { lease } = network();
    expect(lease(sets([small], [six]), "c1", "fd00::77")).toEqual(["10.0.0.2", "fd00::77"]);
    expect(lease(sets([small], [six]), "c2", "fd00::aa", "10.0.0.6", "10.0.0.6")).toEqual(["10.0.0.6", "fd00::aa"]);
  });

  test("that is reserved is refused with the owner's name", () => {
    const { system, lease, reserved } = network();
    lease(sets([small]), "c1", "10.0.0.5");
    const taken = refused(
      11,
      "requested IP address 10.0.0.5 is not available in range set 10.0.0.1-10.0.0.6: it is reserved for container c1",
    );
    expect(() => lease(sets([other], [small]), "c2", "10.0.0.5")).toThrow(taken);
    system.makeDirectory("/data/net/10.0.0.6");
    expect(() => lease(sets([small]), "c2", "10.0.0.6")).toThrow("names no container");
    expect(reserved()).toEqual(["10.0.0.5"]);
  });

  test("that was reserved by hand is refused with the name of the file to remove", () => {
    const { system, lease } = network();
    system.writeFile("/data/net/10.0.0.6", new Uint8Array());
    const held = refused(11, "it is reserved by hand: the file /data/net/10.0.0.6 names no container; remove the file");
    expect(() => lease(sets([small]), "c2", "10.0.0.6")).toThrow(held);
  });

  test.each([
    ["10.0.0.1", "it is the gateway"],
    ["10.9.0.9", "failed to allocate all requested IPs: 10.9.0.9: it is in no range set"],
    ["fd00::5", "in no range set (10.0.0.0-10.0.0.7)"],
  ])("%s is refused: %s", (address, message) => {
    const { lease, reserved } = network();
    const wide = { ...small, rangeStart: "10.0.0.0", rangeEnd: "10.0.0.7" };
    expect(() => lease(sets([wide]), "c1", address)).toThrow(refused(7, message));
    expect(reserved()).toEqual([]);
  });

  test("is refused if another one of the same set is requested, too", () => {
    const { lease, reserved } = network();
    expect(() => lease(sets([small]), "c1", "10.0.0.5", "10.0.0.6")).toThrow(refused(7, "10.0.0.6: another address"));
    expect(reserved()).toEqual([]);
  });
});
