import { describe, expect, test } from "vitest";
import { runPlugin } from "../../pkg/cni/loop.ts";
import { VERSIONS } from "../../pkg/cni/versions.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { plugin as hostLocal } from "./main.ts";

const ipam = { type: "host-local", ranges: [[{ subnet: "10.244.0.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] };
const base = { cniVersion: "1.1.0", name: "net", type: "bridge", ipam };
const NET = "/var/lib/cni/networks/net";

interface Outcome {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: the answer is JSON, whose keys the tests read.
  readonly answer: any;
}

function call(files: FakeFiles, verb: string, config: object = base, variables: Record<string, string> = {}): Outcome {
  const system = new FakeSystem({
    files,
    input: JSON.stringify(config),
    environment: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: "c1",
      CNI_NETNS: verb === "DEL" ? "" : "/run/netns/a",
      CNI_IFNAME: "eth0",
      CNI_PATH: "/opt/cni/bin",
      ...variables,
    },
  });
  const status = runPlugin(hostLocal, system);
  expect(system.openCount).toBe(0);
  return { status, answer: system.output === "" ? undefined : JSON.parse(system.output) };
}

describe("ADD", () => {
  test("returns address, gateway and routes, and reserves the address", () => {
    const files = new FakeFiles();
    expect(call(files, "ADD")).toEqual({
      status: 0,
      answer: {
        cniVersion: "1.1.0",
        ips: [{ address: "10.244.0.2/24", gateway: "10.244.0.1" }],
        routes: [{ dst: "0.0.0.0/0" }],
      },
    });
    expect(files.snapshot()).toEqual({
      [`${NET}/10.244.0.2`]: "c1\r\neth0",
      [`${NET}/last_reserved_ip.0`]: "10.244.0.2",
      [`${NET}/lock`]: "",
    });
  });

  test("returns results of every version", () => {
    for (const [index, cniVersion] of VERSIONS.entries()) {
      const { answer } = call(new FakeFiles(), "ADD", { ...base, cniVersion });
      const ip = { address: "10.244.0.2/24", gateway: "10.244.0.1" };
      const routes = [{ dst: "0.0.0.0/0" }];
      const old = { ip4: { ip: ip.address, gateway: ip.gateway, routes } };
      const lists = { ips: [index < 5 ? { version: "4", ...ip } : ip], routes };
      expect(answer).toEqual({ cniVersion, ...(index < 2 ? old : lists), ...(index < 5 ? { dns: {} } : {}) });
    }
  });

  test("assigns both families, and reads resolvConf", () => {
    const files = new FakeFiles();
    files.makeDirectory("/etc");
    files.writeFile("/etc/resolv.conf", new TextEncoder().encode("nameserver 10.0.0.10\n"));
    const dual = { ...ipam, ranges: [...ipam.ranges, [{ subnet: "fd00::/64" }]], resolvConf: "/etc/resolv.conf" };
    expect(call(files, "ADD", { ...base, ipam: dual }).answer).toMatchObject({
      ips: [{ address: "10.244.0.2/24" }, { address: "fd00::2/64", gateway: "fd00::1" }],
      dns: { nameservers: ["10.0.0.10"] },
    });
  });

  test("reserves in dataDir", () => {
    const files = new FakeFiles();
    call(files, "ADD", { ...base, ipam: { ...ipam, dataDir: "/run/addresses" } });
    expect(Object.keys(files.snapshot())).toContain("/run/addresses/net/10.244.0.2");
  });

  test.each([
    ["CNI_ARGS", {}, { CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=p;IP=10.244.0.9" }],
    ["args.cni.ips", { args: { cni: { ips: ["10.244.0.9"] } } }, {}],
    ["runtimeConfig.ips", { runtimeConfig: { ips: ["10.244.0.9/24"] } }, {}],
  ])("assigns the address that %s requests", (_, more, variables) => {
    expect(call(new FakeFiles(), "ADD", { ...base, ...more }, variables).answer.ips[0].address).toBe("10.244.0.9/24");
  });

  test("assigns from the runtime's ranges first", () => {
    const runtimeConfig = { ipRanges: [[{ subnet: "10.99.0.0/24" }]] };
    const { answer } = call(new FakeFiles(), "ADD", { ...base, ipam: { type: "host-local" }, runtimeConfig });
    expect(answer.ips[0].address).toBe("10.99.0.2/24");
  });

  const twice = { ...ipam, ranges: [...ipam.ranges, [{ subnet: "10.99.0.0/24" }]] };
  test.each([
    ["no ipam", { ipam: undefined }, {}, 7, "ipam: expected an object"],
    ["no ranges", { ipam: { type: "host-local" } }, {}, 7, "ipam.ranges: expected at least one range set"],
    ["host bits", { ipam: { ranges: [[{ subnet: "10.244.0.5/24" }]] } }, {}, 7, "10.244.0.0/24"],
    ["two addresses of a family in an old version", { ipam: twice, cniVersion: "0.2.0" }, {}, 7, "more than one IPv4"],
    ["a bad route", { ipam: { ...ipam, routes: [{ dst: "x" }] } }, {}, 7, "ipam.routes[0].dst"],
    ["a bad data directory", { ipam: { ...ipam, dataDir: 3 } }, {}, 7, "ipam.dataDir"],
    ["a resolvConf that is absent", { ipam: { ...ipam, resolvConf: "/none" } }, {}, 5, "ipam.resolvConf"],
    ["a bad address in CNI_ARGS", {}, { CNI_ARGS: "IP=x" }, 4, "CNI_ARGS: IP"],
    ["a bad requested address", { runtimeConfig: { ips: ["x/24"] } }, {}, 7, "runtimeConfig.ips"],
    ["an unknown key in CNI_ARGS", {}, { CNI_ARGS: "FOO=x" }, 4, "FOO"],
    [
      "a requested address elsewhere",
      { runtimeConfig: { ips: ["10.0.0.9"] } },
      {},
      7,
      "failed to allocate all requested",
    ],
  ])("rejects %s, and leaves no reservation", (_, more, variables, code, message) => {
    const files = new FakeFiles();
    const { status, answer } = call(files, "ADD", { ...base, ...more }, variables);
    expect(status).toBe(1);
    expect(answer).toMatchObject({ code, msg: expect.stringContaining(message) });
    expect(Object.keys(files.snapshot()).filter((path) => !path.endsWith("/lock"))).toEqual([]);
  });

  test("reports a full disk with code 5 and the directory", () => {
    const files = new FakeFiles();
    files.fault = (call) => (call === "link" ? 28 : undefined);
    const { answer } = call(files, "ADD");
    expect(answer).toMatchObject({ code: 5, msg: expect.stringContaining(NET) });
    expect(Object.keys(files.snapshot())).toEqual([`${NET}/lock`]);
  });
});

describe("DEL", () => {
  test("releases the address, and succeeds again", () => {
    const files = new FakeFiles();
    call(files, "ADD");
    call(files, "ADD", base, { CNI_CONTAINERID: "c2" });
    for (const _ of [1, 2]) expect(call(files, "DEL")).toEqual({ status: 0, answer: undefined });
    expect(Object.keys(files.snapshot())).toEqual([`${NET}/10.244.0.3`, `${NET}/last_reserved_ip.0`, `${NET}/lock`]);
  });

  test("releases even if the ranges and other keys are no longer valid", () => {
    const files = new FakeFiles();
    call(files, "ADD");
    const broken = { ...base, ipam: { ranges: [[{ subnet: "10.244.0.7/24" }]] }, prevResult: { ips: 3 } };
    expect(call(files, "DEL", broken, { CNI_ARGS: "nonsense" }).status).toBe(0);
    expect(Object.keys(files.snapshot())).not.toContain(`${NET}/10.244.0.2`);
  });

  test("creates no directory", () => {
    const files = new FakeFiles();
    expect(call(files, "DEL").status).toBe(0);
    expect(files.status("/var")).toBeUndefined();
  });
});

describe("CHECK", () => {
  const prevResult = { ips: [{ address: "10.244.0.2/24" }, { address: "192.0.2.1/24" }] };

  test("succeeds if the result's addresses are reserved", () => {
    const files = new FakeFiles();
    call(files, "ADD");
    expect(call(files, "CHECK", { ...base, prevResult })).toEqual({ status: 0, answer: undefined });
  });

  test("fails if there is no reservation, or only another address's", () => {
    const files = new FakeFiles();
    expect(call(files, "CHECK", { ...base, prevResult }).answer).toMatchObject({
      code: 101,
      msg: expect.stringContaining("c1 eth0"),
    });
    call(files, "ADD");
    const moved = { ips: [{ address: "10.244.0.3/24" }] };
    expect(call(files, "CHECK", { ...base, prevResult: moved }).answer).toMatchObject({
      code: 101,
      msg: expect.stringContaining("10.244.0.3"),
    });
    expect(call(files, "CHECK").answer).toMatchObject({ code: 7, msg: expect.stringContaining("prevResult") });
  });
});

describe("STATUS", () => {
  test("succeeds before the first ADD, and with an exhausted range", () => {
    const files = new FakeFiles();
    const tiny = { ...base, ipam: { ranges: [[{ subnet: "10.244.0.0/30" }]] } };
    expect(call(files, "STATUS", tiny).status).toBe(0);
    call(files, "ADD", tiny);
    expect(call(files, "ADD", tiny, { CNI_CONTAINERID: "c2" }).answer).toMatchObject({ code: 11 });
    expect(call(files, "STATUS", tiny).status).toBe(0);
  });

  test("fails with 50 for an exhausted range with statusOnExhausted, until an address is free", () => {
    const files = new FakeFiles();
    const ipam = { ranges: [[{ subnet: "10.244.0.0/30" }], [{ subnet: "fd00::/64" }]], statusOnExhausted: true };
    const tiny = { ...base, ipam };
    expect(call(files, "STATUS", tiny).status).toBe(0);
    call(files, "ADD", tiny);
    const message = "no IP addresses available in range set: 10.244.0.1-10.244.0.2";
    expect(call(files, "STATUS", tiny).answer).toMatchObject({ code: 50, msg: expect.stringContaining(message) });
    call(files, "DEL", tiny);
    expect(call(files, "STATUS", tiny).status).toBe(0);
    files.writeFile(`${NET}/10.244.0.2`, new Uint8Array());
    expect(call(files, "STATUS", tiny).answer).toMatchObject({ code: 50 });
    const misspelt = { ...base, ipam: { ...ipam, statusOnExhausted: "yes" } };
    expect(call(files, "STATUS", misspelt).answer).toMatchObject({ code: 7 });
  });

  test("succeeds if only the runtime provides ranges", () => {
    expect(call(new FakeFiles(), "STATUS", { ...base, ipam: { type: "host-local" } }).status).toBe(0);
  });

  test("fails with 50 if nothing can be written, and with 7 if the ranges are invalid", () => {
    const files = new FakeFiles();
    files.fault = (call) => (call === "mkdir" || call === "open" ? 30 : undefined);
    expect(call(files, "STATUS").answer).toMatchObject({ code: 50, msg: expect.stringContaining(NET) });
    const broken = { ...base, ipam: { ranges: [[{ subnet: "x" }]] } };
    expect(call(new FakeFiles(), "STATUS", broken).answer).toMatchObject({ code: 7 });
  });
});

describe("GC", () => {
  const keep = (...attachments: [string, string][]) => ({
    ...base,
    "cni.dev/valid-attachments": attachments.map(([containerID, ifname]) => ({ containerID, ifname })),
  });

  /** Files that name no interface were created by an administrator, to exclude their addresses from pods. */
  const BY_HAND = ["10.244.0.10", "10.244.0.9"];
  const OTHERS = ["last_reserved_ip.0", "lock", "notes"];

  function populated(): FakeFiles {
    const files = new FakeFiles();
    for (const id of ["c1", "c2", "c3"]) call(files, "ADD", base, { CNI_CONTAINERID: id });
    files.writeFile(`${NET}/10.244.0.9`, new TextEncoder().encode("c1"));
    files.writeFile(`${NET}/10.244.0.10`, new Uint8Array());
    files.writeFile(`${NET}/notes`, new Uint8Array());
    files.writeFile(`${NET}/.reservation`, new Uint8Array());
    return files;
  }

  const names = (files: FakeFiles): string[] => Object.keys(files.snapshot()).map((path) => path.slice(NET.length + 1));

  test("releases only reservations that are not on the list", () => {
    const files = populated();
    expect(call(files, "GC", keep(["c1", "eth0"], ["c2", "eth1"])).status).toBe(0);
    expect(names(files)).toEqual([...BY_HAND.slice(0, 1), "10.244.0.2", ...BY_HAND.slice(1), ...OTHERS]);
  });

  test("with an empty list releases all reservations of weft and the reference, without a list none", () => {
    const files = populated();
    expect(call(files, "GC").answer).toMatchObject({ code: 7 });
    expect(names(files)).toHaveLength(9);
    expect(call(files, "GC", keep()).status).toBe(0);
    expect(names(files)).toEqual([...BY_HAND, ...OTHERS]);
  });

  test("continues if a reservation cannot be released, and reports it", () => {
    const files = populated();
    files.fault = (call, path) => (call === "unlink" && path.endsWith(".3") ? 1 : undefined);
    const { status, answer } = call(files, "GC", keep());
    expect(status).toBe(1);
    expect(answer).toMatchObject({ code: 5, details: expect.stringContaining("10.244.0.3") });
    expect(names(files)).toEqual(["10.244.0.10", "10.244.0.3", "10.244.0.9", ...OTHERS]);
  });

  test("succeeds for a network without reservations", () => {
    expect(call(new FakeFiles(), "GC", keep()).status).toBe(0);
  });
});
