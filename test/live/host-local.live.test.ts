/** host-local called by itself, step by step beside the reference: the same answers, and the same files on disk. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OURS, PluginBed, REFERENCE } from "./harness/plugin-bed.ts";

const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
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
/** Every file, its contents, and what else stands in the folders, but for our index, which the reference has not. */
const disk = () =>
  bed.node.succeed("sh", [
    "-c",
    'cd /var/lib/cni && files() { find . -name .weft -prune -o "$@" -print | sort; } && ' +
      "files -true && files -type f | xargs -r grep -H . || true",
  ]);

/** What a container sees of its life: two come, one goes, a third comes, and is looked at; then all go. */
async function life(bin: string, configuration: object, args: string) {
  await clear();
  const call = (verb: string, containerId: string, prevResult?: unknown) =>
    bed.call(
      bin,
      "host-local",
      verb,
      { ...configuration, ...(prevResult === undefined ? {} : { prevResult }) },
      {
        containerId,
        args,
      },
    );
  const seen: unknown[] = [];
  const note = async (answer: { status: number; json: unknown }) =>
    seen.push({ status: answer.status, json: essence(answer), disk: await disk() });
  await note(await call("ADD", "c1"));
  await note(await call("ADD", "c2"));
  await note(await call("DEL", "c1"));
  const third = await call("ADD", "c3");
  await note(third);
  if (third.status === 0 && !["0.1.0", "0.2.0"].includes((configuration as { cniVersion: string }).cniVersion)) {
    const status = (await call("CHECK", "c3", third.json)).status;
    seen.push({ status });
  }
  for (const id of ["c1", "c2", "c3"]) await note(await call("DEL", id));
  return seen;
}

/** Of a refusal the words are each one's own. The reference prints an empty `dns` before 1.0.0, which says nothing. */
function essence({ status, json }: { status: number; json: unknown }): unknown {
  if (status !== 0) return "refused";
  if (json === undefined) return undefined;
  const { dns, ...rest } = json as { dns?: object };
  return dns === undefined || Object.keys(dns).length === 0 ? rest : { ...rest, dns };
}

describe("the same as the reference", () => {
  test.each<[string, object, string?]>([
    ["one range", conf({ ranges: [[RANGE]] })],
    ["a range of the old form", conf(RANGE)],
    [
      "a gateway and routes",
      conf({ ranges: [[{ ...RANGE, gateway: "10.22.0.254" }]], routes: [{ dst: "0.0.0.0/0" }] }),
    ],
    ["bounds inside a subnet", conf({ ranges: [[{ ...RANGE, rangeStart: "10.22.0.40", rangeEnd: "10.22.0.41" }]] })],
    ["a range that one address fills", conf({ ranges: [[{ subnet: "10.22.0.0/30" }]] })],
    [
      "two ranges of one set, used one after the other",
      conf({ ranges: [[{ ...RANGE, rangeStart: "10.22.0.9", rangeEnd: "10.22.0.9" }, { subnet: "10.23.0.0/24" }]] }),
    ],
    ["both families", conf({ ranges: [[RANGE], [{ subnet: "fd00:22::/64" }]] })],
    ["a folder of its own", conf({ ranges: [[RANGE]], dataDir: "/var/lib/cni/elsewhere" })],
    ["ranges that the runtime gives", conf({}, { runtimeConfig: { ipRanges: [[RANGE]] } })],
    ["an address that CNI_ARGS ask for", conf({ ranges: [[RANGE]] }), "IgnoreUnknown=1;IP=10.22.0.77"],
    ["an address that args ask for", conf({ ranges: [[RANGE]] }, { args: { cni: { ips: ["10.22.0.78"] } } })],
    [
      "an address that runtimeConfig asks for",
      conf({ ranges: [[RANGE]] }, { runtimeConfig: { ips: ["10.22.0.79/24"] } }),
    ],
  ])("%s", async (_name, configuration, args = "") => {
    expect(await life(OURS, configuration, args)).toEqual(await life(REFERENCE, configuration, args));
  });

  test.each(VERSIONS)("in CNI %s", async (cniVersion) => {
    const configuration = conf({ ranges: [[RANGE]], routes: [{ dst: "0.0.0.0/0" }] }, { cniVersion });
    expect(await life(OURS, configuration, "")).toEqual(await life(REFERENCE, configuration, ""));
  });

  test("a resolv.conf", async () => {
    await bed.node.succeed("sh", [
      "-c",
      "printf 'nameserver 10.96.0.10\\nsearch a.test b.test\\noptions ndots:5 edns0\\ndomain c.test\\n' >/var/lib/cni.conf",
    ]);
    const configuration = conf({ ranges: [[RANGE]], resolvConf: "/var/lib/cni.conf" });
    expect(await life(OURS, configuration, "")).toEqual(await life(REFERENCE, configuration, ""));
  });
});

const call = (verb: string, configuration: object, containerId = "c1") =>
  bed.call(OURS, "host-local", verb, configuration, { containerId });

const WANTS_STRANGE = { runtimeConfig: { ips: ["10.99.0.1/24"] } };
test.each([
  ["an address outside of all ranges", conf({ ranges: [[RANGE]] }, WANTS_STRANGE), /10\.99\.0\.1/],
  ["host bits in a subnet", conf({ ranges: [[{ subnet: "10.22.0.1/24" }]] }), /subnet.*10\.22\.0\.0\/24/],
  [
    "overlapping ranges",
    conf({ ranges: [[RANGE], [{ subnet: "10.22.0.0/25" }]] }),
    /overlap.*10\.22\.0\.1-10\.22\.0\.126/,
  ],
])("%s: ADD refuses as the reference does; DEL needs no range, and succeeds", async (_name, configuration, message) => {
  expect(await bed.call(REFERENCE, "host-local", "ADD", configuration)).toMatchObject({ status: 1 });
  await clear();
  const answer = await call("ADD", configuration);
  expect(answer).toMatchObject({ status: 1, json: { code: 7, msg: expect.stringMatching(message) } });
  expect(await call("DEL", configuration)).toEqual({ status: 0, output: "", json: undefined });
  expect(await bed.reservations()).toBe("");
});

test("an exhausted range is code 11 with its bounds, and nothing changes on disk", async () => {
  const configuration = conf({ ranges: [[{ subnet: "10.22.0.0/30" }]] });
  expect(await call("ADD", configuration)).toMatchObject({ status: 0 });
  const before = await disk();
  const answer = await call("ADD", configuration, "c2");
  expect(answer).toMatchObject({ status: 1, json: { code: 11, msg: expect.stringContaining("10.22.0.1-10.22.0.2") } });
  expect(await disk()).toBe(before);
});

test("of two families, one that is exhausted takes nothing of the other", async () => {
  const configuration = conf({ ranges: [[RANGE], [{ subnet: "fd00:22::/126", rangeEnd: "fd00:22::2" }]] });
  expect(await call("ADD", configuration)).toMatchObject({ status: 0 });
  const reservations = await bed.reservations();
  expect(await call("ADD", configuration, "c2")).toMatchObject({ status: 1 });
  expect(await bed.reservations()).toBe(reservations);
});

test("GC keeps what is valid, and STATUS tells of a folder that cannot be written", async () => {
  const configuration = conf({ ranges: [[RANGE]] });
  for (const id of ["c1", "c2"]) await call("ADD", configuration, id);
  const valid = { "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] };
  expect(await call("GC", { ...configuration, ...valid })).toMatchObject({ status: 0, output: "" });
  expect(await bed.reservations()).toMatch(/^\.\/networks\/net\/10\.22\.0\.3:c2/);
  expect(await call("STATUS", configuration)).toMatchObject({ status: 0, output: "" });
  const unwritable = conf({ ranges: [[RANGE]], dataDir: "/proc/nowhere" });
  expect(await call("STATUS", unwritable)).toMatchObject({ status: 1, json: { code: 50 } });
});

describe("beside the reference", () => {
  const configuration = conf({ ranges: [[RANGE]] });
  const add = (bin: string, id: string) => bed.call(bin, "host-local", "ADD", configuration, { containerId: id });
  const del = (bin: string, id: string) => bed.call(bin, "host-local", "DEL", configuration, { containerId: id });
  /** The containers that have an address. */
  const held = async () => [...(await bed.reservations()).matchAll(/10\.[0-9.]+:(\w+)\r/g)].map(([, id]) => id);
  const BOOT_ID = "/proc/sys/kernel/random/boot_id";

  test("each deletes what the other reserved, and sees it as taken", async () => {
    for (const [at, bin] of [OURS, REFERENCE, OURS, REFERENCE].entries()) {
      expect((await add(bin, `c${at}`)).json.ips[0].address).toBe(`10.22.0.${at + 2}/24`);
    }
    for (const [at, bin] of [REFERENCE, OURS, OURS, REFERENCE].entries()) {
      expect(await del(bin, `c${at}`)).toMatchObject({ status: 0 });
      expect(await held()).toHaveLength(3 - at);
    }
  });

  test("a container that the one serves already, the other refuses", async () => {
    await add(OURS, "warm");
    await add(REFERENCE, "c1");
    expect(await add(OURS, "c1")).toMatchObject({
      status: 1,
      json: { code: 100, msg: expect.stringContaining("duplicate allocation is not allowed") },
    });
    expect(await add(REFERENCE, "warm")).toMatchObject({ status: 1 });
    expect(await held()).toEqual(["warm", "c1"]);
  });

  test("a start of the machine frees what was reserved before it, and nothing that was not ours to see", async () => {
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
      expect(await bed.node.succeed("ls", ["-A", "/var/lib/cni/networks/net"])).not.toContain("10.22.0.99");
      expect(await bed.node.succeed("ls", ["-A", "/var/lib/cni/networks/.weft/net"])).toBe("another-boot\n");
    } finally {
      await bed.node.succeed("umount", [BOOT_ID]);
    }
  });
});
