/** host-local called alone, and together with the reference in one directory. test/differential compares the two. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

const RANGE = { subnet: "10.22.0.0/24" };
const conf = (ipam: object, more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "bridge", ipam: { type: "host-local", ...ipam } },
  ...more,
});

let bed: PluginBed;
beforeAll(async () => {
  bed = await PluginBed.make();
});
beforeEach(() => clear());
afterAll(() => bed.close());

const clear = () => bed.node.succeed("sh", ["-c", "rm -rf /var/lib/cni/* && mkdir -p /var/lib/cni"]);
/** All files with their contents, and other entries of the folders, except weft's index, which the reference lacks. */
const disk = () =>
  bed.node.succeed("sh", [
    "-c",
    'cd /var/lib/cni && files() { find . -name .weft -prune -o "$@" -print | sort; } && ' +
      "files -true && files -type f | xargs -r grep -H . || true",
  ]);

const call = (verb: string, configuration: object, containerId = "c1") =>
  bed.call(OURS, "host-local", verb, configuration, { containerId });

const WANTS_STRANGE = { runtimeConfig: { ips: ["10.99.0.1/24"] } };
test.each([
  ["an address outside all ranges", conf({ ranges: [[RANGE]] }, WANTS_STRANGE), /10\.99\.0\.1/],
  ["host bits in a subnet", conf({ ranges: [[{ subnet: "10.22.0.1/24" }]] }), /subnet.*10\.22\.0\.0\/24/],
  [
    "overlapping ranges",
    conf({ ranges: [[RANGE], [{ subnet: "10.22.0.0/25" }]] }),
    /overlap.*10\.22\.0\.1-10\.22\.0\.126/,
  ],
])("%s: ADD fails as the reference's does; DEL needs no range, and succeeds", async (_name, configuration, message) => {
  expect(await bed.call(REFERENCE, "host-local", "ADD", configuration)).toMatchObject({ status: 1 });
  await clear();
  const answer = await call("ADD", configuration);
  expect(answer).toMatchObject({ status: 1, json: { code: 7, msg: expect.stringMatching(message) } });
  expect(await call("DEL", configuration)).toEqual({ status: 0, output: "", json: undefined });
  expect(await bed.reservations()).toBe("");
});

test("an exhausted range returns code 11 with its bounds, and changes nothing on disk", async () => {
  const configuration = conf({ ranges: [[{ subnet: "10.22.0.0/30" }]] });
  expect(await call("ADD", configuration)).toMatchObject({ status: 0 });
  const before = await disk();
  const answer = await call("ADD", configuration, "c2");
  expect(answer).toMatchObject({ status: 1, json: { code: 11, msg: expect.stringContaining("10.22.0.1-10.22.0.2") } });
  expect(await disk()).toBe(before);
});

test("if one family's range is exhausted, no address of the other is taken", async () => {
  const configuration = conf({ ranges: [[RANGE], [{ subnet: "fd00:22::/126", rangeEnd: "fd00:22::2" }]] });
  expect(await call("ADD", configuration)).toMatchObject({ status: 0 });
  const reservations = await bed.reservations();
  expect(await call("ADD", configuration, "c2")).toMatchObject({ status: 1 });
  expect(await bed.reservations()).toBe(reservations);
});

test("GC keeps valid reservations, and STATUS reports a folder that cannot be written", async () => {
  const configuration = conf({ ranges: [[RANGE]] });
  for (const id of ["c1", "c2"]) await call("ADD", configuration, id);
  const valid = { "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] };
  expect(await call("GC", { ...configuration, ...valid })).toMatchObject({ status: 0, output: "" });
  expect(await bed.reservations()).toMatch(/^\.\/networks\/net\/10\.22\.0\.3:c2/);
  expect(await call("STATUS", configuration)).toMatchObject({ status: 0, output: "" });
  const unwritable = conf({ ranges: [[RANGE]], dataDir: "/proc/nowhere" });
  expect(await call("STATUS", unwritable)).toMatchObject({ status: 1, json: { code: 50 } });
});

describe("with the reference", () => {
  const configuration = conf({ ranges: [[RANGE]] });
  const add = (bin: string, id: string) => bed.call(bin, "host-local", "ADD", configuration, { containerId: id });
  const del = (bin: string, id: string) => bed.call(bin, "host-local", "DEL", configuration, { containerId: id });
  /** The containers that have an address. */
  const held = async () => [...(await bed.reservations()).matchAll(/10\.[0-9.]+:(\w+)\r/g)].map(([, id]) => id);
  const BOOT_ID = "/proc/sys/kernel/random/boot_id";

  test("each deletes the other's reservations, and treats them as taken", async () => {
    for (const [at, bin] of [OURS, REFERENCE, OURS, REFERENCE].entries()) {
      expect((await add(bin, `c${at}`)).json.ips[0].address).toBe(`10.22.0.${at + 2}/24`);
    }
    for (const [at, bin] of [REFERENCE, OURS, OURS, REFERENCE].entries()) {
      expect(await del(bin, `c${at}`)).toMatchObject({ status: 0 });
      expect(await held()).toHaveLength(3 - at);
    }
  });

  test("a container with an address from one plugin is rejected by the other", async () => {
    await add(OURS, "warm");
    await add(REFERENCE, "c1");
    expect(await add(OURS, "c1")).toMatchObject({
      status: 1,
      json: { code: 100, msg: expect.stringContaining("duplicate allocation is not allowed") },
    });
    expect(await add(REFERENCE, "warm")).toMatchObject({ status: 1 });
    expect(await held()).toEqual(["warm", "c1"]);
  });

  test("a reboot frees earlier reservations, but none that weft did not record", async () => {
    await add(REFERENCE, "upgraded");
    await add(OURS, "ours");
    expect(await held()).toEqual(["upgraded", "ours"]);
    await bed.node.succeed("sh", [
      "-c",
      `echo another-boot >/var/lib/cni/boot && mount --bind /var/lib/cni/boot ${BOOT_ID}`,
    ]);
    try {
      await add(REFERENCE, "since");
      await bed.node.succeed("touch", ["/var/lib/cni/networks/net/10.22.0.99"]);
      await add(OURS, "c2");
      expect(await held()).toEqual(["since", "c2"]);
      // Made by hand: only an administrator removes it.
      expect(await bed.node.succeed("ls", ["-A", "/var/lib/cni/networks/net"])).toContain("10.22.0.99");
      expect(await bed.node.succeed("ls", ["-A", "/var/lib/cni/networks/.weft/net"])).toBe("another-boot\n");
    } finally {
      await bed.node.succeed("umount", [BOOT_ID]);
    }
  });
});
