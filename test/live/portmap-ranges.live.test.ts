/** portmap with thousands of ports in one pod: all of them work, and the time grows linearly with their number. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { FAMILIES, OUTSIDE, PortBed, portmap, silent, UPLINK } from "./harness/port-bed.ts";
import { PATIENCE } from "./harness/process.ts";

const [FEW, MANY] = [250, 2000];
/** Limit of the time ratio for eight times as many ports. A quadratic call would reach 64. */
const LONGEST = 20;
const FIRST = 20_000;
const VERBS = ["ADD", "CHECK", "DEL"] as const;

let ports: PortBed;

beforeEach(async () => {
  ports = await PortBed.make();
});
afterEach(() => ports.close());

const range = (protocol: string, count: number, step = 1) =>
  Array.from({ length: count }, (_, at) => ({
    ...{ protocol, hostPort: FIRST + at * step, containerPort: FIRST + at * step },
  }));

test.each([
  ["tcp", 1],
  ["udp", 1],
  ["tcp", 3],
] as const)("maps %s ports, %s apart", { timeout: 240_000 * PATIENCE }, async (protocol, step) => {
  const { bed, outside } = ports;
  const { json: previous } = await ports.attach([]);

  async function timed(count: number): Promise<Record<string, number>> {
    const input = portmap(range(protocol, count, step), previous);
    const took: Record<string, number> = {};
    for (const verb of VERBS) {
      const began = performance.now();
      expect((await ports.call(verb, input)).status, `${verb} of ${count} ports`).toBe(0);
      took[verb] = performance.now() - began;
      if (verb === "DEL") expect(await ports.elements()).toEqual([]);
    }
    return took;
  }
  async function ratios() {
    const [few, many] = [await timed(FEW), await timed(MANY)];
    return VERBS.map((verb) => ({ verb, ratio: (many[verb] ?? 0) / (few[verb] ?? 0) }));
  }
  const tooLong = (measured: Awaited<ReturnType<typeof ratios>>) => measured.filter(({ ratio }) => ratio > LONGEST);
  // Repeats the measurement, in case the machine was busy during the longer call.
  if (tooLong(await ratios()).length > 0) expect(tooLong(await ratios())).toEqual([]);

  const mapped = range(protocol, MANY, step);
  const input = portmap(mapped, previous);
  expect(await ports.call("ADD", input)).toMatchObject({ status: 0 });
  const some = [0, 1, 777, MANY - 1].map((at) => mapped[at]?.hostPort ?? 0);
  for (const port of some) {
    await bed.pod.listen(port, protocol);
    for (const of of FAMILIES) {
      expect(await outside.seenBy(UPLINK[of], port, { transport: protocol })).toBe(OUTSIDE[of]);
      // By the entries for sources that need the node's address.
      expect(await bed.pod.seenBy(UPLINK[of], port, { transport: protocol })).not.toBe(OUTSIDE[of]);
    }
  }
  await silent(outside, UPLINK[4], FIRST - 1, protocol);
  expect(await ports.call("DEL", input)).toMatchObject({ status: 0 });
  expect(await ports.elements()).toEqual([]);
});

test("single entries that an earlier version made for a range's ports also work", async () => {
  const { json: previous } = await ports.attach(range("tcp", 3));
  const input = portmap(range("tcp", 3), previous);
  const nft = (text: string) => ports.bed.node.succeed("nft", [text]);
  const entry = (key: string) => `{ tcp . ${key} . 127.0.0.0/8 comment "cni:net/c1/eth0" : jump mark-13 }`;
  const map = "element inet weft_portmap masquerade4";
  await nft(`delete ${map} { tcp . ${FIRST}-${FIRST + 2} . 127.0.0.0/8 }`);
  const missing = await ports.call("CHECK", input);
  expect(missing.json.msg).toMatch(/tcp \. 20001 \. 127\.0\.0\.0\/8 .* is missing/);
  for (const port of [0, 1, 2]) await nft(`add ${map} ${entry(String(FIRST + port))}`);
  expect(await ports.call("CHECK", input)).toMatchObject({ status: 0 });
  expect(await ports.call("ADD", input)).toMatchObject({ status: 0 });
  expect(await ports.call("DEL", input)).toMatchObject({ status: 0 });
  expect(await ports.elements()).toEqual([]);
});

test("more ports than a netlink socket's default send buffer holds are one transaction", {
  timeout: 240_000 * PATIENCE,
}, async () => {
  // 60,000 elements of about 170 bytes: about ten million bytes. The kernel's default limit is 8,388,576.
  const containerId = "c".repeat(100);
  const { json: previous } = await ports.attach([]);
  const input = portmap([...range("tcp", 15_000), ...range("udp", 15_000)], previous, { snat: false });
  expect(await ports.call("ADD", input, { containerId })).toMatchObject({ status: 0 });
  await ports.bed.pod.listen(FIRST + 14_999);
  for (const of of FAMILIES) expect(await ports.outside.seenBy(UPLINK[of], FIRST + 14_999)).toBe(OUTSIDE[of]);
});
