/**
 * portmap for some connections only, on a real kernel: tested by which clients get answers, and by nft's listing of the
 * table.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Inside } from "./harness/inside.ts";
import type { PluginBed } from "./harness/plugin-bed.ts";
import {
  FAMILIES,
  GATEWAY,
  HOST_PORT,
  mapping,
  OUTSIDE,
  POD_PORT,
  PortBed,
  portmap,
  silent,
  UPLINK,
} from "./harness/port-bed.ts";
import { PATIENCE } from "./harness/process.ts";

/** A second address of the node, and of the machine outside. */
const SECOND = { 4: "198.51.100.9", 6: "2001:db8:51::9" } as const;
const SILENCE_MS = 700 * PATIENCE;
const GUEST = { 4: "198.51.100.77", 6: "2001:db8:51::77" } as const;

let ports: PortBed;
let bed: PluginBed;
let outside: Inside;
beforeEach(async () => {
  ports = await PortBed.make();
  ({ bed, outside } = ports);
  await ports.giveNode(SECOND[4], SECOND[6]);
  await ports.giveOutside(GUEST[4], GUEST[6]);
});
afterEach(() => ports.close());

type Question = "plain" | "second" | "guest" | "loopback" | "pod" | "node";
const QUESTIONS: readonly Question[] = ["plain", "second", "guest", "loopback", "pod", "node"];

/**
 * The clients that get an answer: the machine outside through each of the node's two addresses and from its second
 * source address, and programs on the node.
 */
async function answered(of: 4 | 6): Promise<Question[]> {
  const ask: Record<Question, () => Promise<string>> = {
    plain: () => outside.seenBy(UPLINK[of], HOST_PORT, { timeoutMs: SILENCE_MS, source: OUTSIDE[of] }),
    second: () => outside.seenBy(SECOND[of], HOST_PORT, { timeoutMs: SILENCE_MS, source: OUTSIDE[of] }),
    guest: () => outside.seenBy(UPLINK[of], HOST_PORT, { timeoutMs: SILENCE_MS, source: GUEST[of] }),
    loopback: () => bed.node.seenBy(of === 4 ? "127.0.0.1" : "::1", HOST_PORT, { timeoutMs: SILENCE_MS }),
    pod: () => bed.pod.seenBy(UPLINK[of], HOST_PORT, { timeoutMs: SILENCE_MS }),
    node: () => bed.node.seenBy(UPLINK[of], HOST_PORT, { timeoutMs: SILENCE_MS }),
  };
  const said = await Promise.all(
    QUESTIONS.map((question) =>
      ask[question]().then(
        (seen) => [question, seen] as const,
        () => undefined,
      ),
    ),
  );
  const answers = new Map(said.filter((each) => each !== undefined));
  // A client that is answered through the node has the node's address, as without conditions.
  if (answers.has("pod")) expect(answers.get("pod")).toBe(GATEWAY[of]);
  if (answers.has("loopback")) expect(answers.get("loopback")).toBe(GATEWAY[of]);
  if (answers.has("plain")) expect(answers.get("plain")).toBe(OUTSIDE[of]);
  return [...answers.keys()];
}

async function serve(more: object) {
  const added = await ports.attach([mapping("tcp")], {}, more);
  expect(added).toMatchObject({ status: 0 });
  await bed.pod.listen(POD_PORT);
  return portmap([mapping("tcp")], added.json, more);
}

test("without conditions all of them are answered", async () => {
  await serve({});
  expect(await answered(4)).toEqual(QUESTIONS);
  expect(await answered(6)).toEqual(QUESTIONS.filter((question) => question !== "loopback"));
});

describe.each<[string, object, Record<4 | 6, readonly Question[]>]>([
  [
    "-s, in iptables' syntax",
    { conditionsV4: ["-s", `${OUTSIDE[4]},10.22.0.0/24`], conditionsV6: ["--source", `${OUTSIDE[6]}/128`] },
    { 4: ["plain", "second", "pod"], 6: ["plain", "second"] },
  ],
  [
    "! -s",
    { conditionsV4: ["!", "-s", GUEST[4]], conditionsV6: ["--src", "!", GUEST[6]], backend: "iptables" },
    { 4: ["plain", "second", "loopback", "pod", "node"], 6: ["plain", "second", "pod", "node"] },
  ],
  [
    "-d",
    { conditionsV4: ["-d", `${SECOND[4]}/32`], conditionsV6: ["--dst", SECOND[6]] },
    { 4: ["second"], 6: ["second"] },
  ],
  [
    "! -d, of one family",
    { conditionsV4: ["!", "-d", `${SECOND[4]}/32`] },
    {
      4: ["plain", "guest", "loopback", "pod", "node"],
      6: QUESTIONS.filter((question) => question !== "loopback"),
    },
  ],
  [
    "-i",
    { conditionsV4: ["-i", "upl+"], conditionsV6: ["-i", "cni0"] },
    { 4: ["plain", "second", "guest"], 6: ["pod"] },
  ],
  [
    "! -i",
    { conditionsV4: ["!", "-i", "uplink"], conditionsV6: ["!", "--in-interface", "upl+"] },
    { 4: ["loopback", "pod", "node"], 6: ["pod", "node"] },
  ],
  [
    "nft's syntax",
    {
      backend: "nftables",
      conditionsV4: [`ip saddr { ${OUTSIDE[4]}, 127.0.0.0/8 }`, `ip daddr != ${SECOND[4]}`],
      conditionsV6: ['iifname "upl*"', `ip6 saddr != ${GUEST[6]}`],
    },
    { 4: ["plain", "loopback"], 6: ["plain", "second"] },
  ],
])("%s", (_, more, expected) => {
  test("maps these connections only; CHECK and DEL find the ports", async () => {
    const input = await serve(more);
    for (const of of FAMILIES) expect(await answered(of), `IPv${of}`).toEqual(expected[of]);
    expect(await ports.call("CHECK", input)).toMatchObject({ status: 0 });
    await bed.node.succeed("nft", ["flush", "map", "inet", "weft_portmap", "conditional-ports4"]);
    expect((await ports.call("CHECK", input)).json.msg).toMatch(/conditional-ports4 is missing/);
    expect(await ports.call("ADD", input)).toMatchObject({ status: 0 });
    expect(await ports.call("DEL", portmap([], undefined, more))).toMatchObject({ status: 0 });
    expect(await ports.elements()).toEqual([]);
  });
});

test("applies to a port of one address too", async () => {
  const added = await ports.attach(
    [mapping("tcp", { hostIP: SECOND[4] })],
    {},
    { conditionsV4: ["!", "-s", GUEST[4]] },
  );
  expect(added).toMatchObject({ status: 0 });
  await bed.pod.listen(POD_PORT);
  expect(await outside.seenBy(SECOND[4], HOST_PORT)).toBe(OUTSIDE[4]);
  await silent(outside, UPLINK[4], HOST_PORT);
  await expect(outside.seenBy(SECOND[4], HOST_PORT, { timeoutMs: SILENCE_MS, source: GUEST[4] })).rejects.toThrow();
});

test("two pods share a port for different connections, and a third pod gets the rest", async () => {
  const [second, third] = [await bed.anotherPod("second"), await bed.anotherPod("third")];
  const options = (containerId: string, netns: string) => ({ containerId, netns });
  const from = (address: string) => ({ conditionsV4: ["-s", address], conditionsV6: ["-s", "fd99::1"] });
  expect(await ports.attach([mapping("tcp")], {}, from(OUTSIDE[4]))).toMatchObject({ status: 0 });
  const two = options("c2", second.namespace.path);
  expect(
    await ports.attach([mapping("tcp", { containerPort: 81, hostIP: "0.0.0.0" })], two, from(GUEST[4])),
  ).toMatchObject({
    status: 0,
  });
  const three = options("c3", third.namespace.path);
  expect(await ports.attach([mapping("tcp", { containerPort: 82 })], three)).toMatchObject({ status: 0 });
  await bed.pod.listen(POD_PORT);
  expect(await outside.seenBy(UPLINK[4], HOST_PORT)).toBe(OUTSIDE[4]);
  await expect(outside.seenBy(UPLINK[4], HOST_PORT, { source: GUEST[4], timeoutMs: SILENCE_MS })).rejects.toThrow();
  await second.inside.listen(81);
  expect(await outside.seenBy(UPLINK[4], HOST_PORT, { source: GUEST[4] })).toBe(GUEST[4]);
  await silent(bed.node, UPLINK[4], HOST_PORT);
  await third.inside.listen(82);
  expect(await bed.node.seenBy(UPLINK[4], HOST_PORT)).toBe(UPLINK[4]);
  const fourth = { cniVersion: "1.1.0", ips: [{ address: "10.22.0.99/24" }] };
  const overlapping = portmap([mapping("tcp")], fourth, { conditionsV4: ["-s", "198.51.100.0/24"] });
  expect((await ports.call("ADD", overlapping, { containerId: "c4" })).json).toMatchObject({ code: 100 });
});

test("GC removes such ports, and keeps the ports of other pods", async () => {
  const previous = (at: number) => ({ cniVersion: "1.1.0", ips: [{ address: `10.22.0.${at}/24` }] });
  const one = (at: number) => [mapping("udp", { hostPort: 7000 + at })];
  const plain = portmap(one(1), previous(31));
  await ports.call("ADD", plain, { containerId: "c1" });
  await ports.call("ADD", portmap(one(2), previous(32), { conditionsV4: ["-i", "uplink"] }), { containerId: "c2" });
  expect((await ports.elements("cni:net/c2/")).length).toBeGreaterThan(0);
  const valid = { "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] };
  const gone = portmap([], undefined, { ...valid, conditionsV4: ["-m", "set", "--match-set", "x", "src"] });
  expect(await ports.call("GC", gone)).toMatchObject({ status: 0 });
  expect(await ports.elements("cni:net/c2/")).toEqual([]);
  expect(await ports.elements("cni:net/c1/")).toHaveLength(3);
  expect(await ports.call("CHECK", plain, { containerId: "c1" })).toMatchObject({ status: 0 });
});

test("nft shows the conditions", async () => {
  await serve({ conditionsV4: ["-s", "10.0.0.0/8", "-d", "192.0.2.0/24", "-i", "eth+"] });
  const text = await bed.node.succeed("nft", ["list", "map", "inet", "weft_portmap", "conditional-ports4"]);
  expect(text).toMatch(/tcp \. 8080 \. 10\.0\.0\.0\/8 \. 192\.0\.2\.0\/24 \. "eth\*" comment "cni:net\/c1\/eth0"/);
  expect((await bed.node.run("nft", ["-j", "list", "ruleset"])).status).toBe(0);
});
