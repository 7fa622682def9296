/** A network card that leaves encapsulated packets without a checksum: who finds it out, and what then works. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Node } from "./harness/cluster.ts";
import { eventually } from "./harness/process.ts";

const cleanup = new Cleanup();
let cluster: Cluster;
let nodes: readonly [Node, Node];

/**
 * A datagram of the probe between the VTEPs 10.244.1.0 and 10.244.2.0 whose checksum nobody has filled in carries the sum
 * of its pseudo header (RFC 768) in that place, 56 bytes behind the outer UDP header's beginning.
 */
function pseudoHeaderSum(): string {
  const words = [0x0af4, 0x0100, 0x0af4, 0x0200, 17, 8 + "weft".length];
  return `0x${words.reduce((sum, word) => sum + word, 0).toString(16)}`;
}
const UNFINISHED = `udp dport 8472 @th,448,16 ${pseudoHeaderSum()}`;

beforeAll(async () => {
  cluster = await Cluster.start("vxlan", cleanup);
  const hook = "type filter hook forward priority 0;";
  await cluster.link("nft", [`table bridge card { chain forward { ${hook} ${UNFINISHED} drop; }; }`]);
  nodes = [await cluster.addNode(1), await cluster.addNode(2)];
});
afterAll(() => cleanup.run());

const offload = async ({ inside }: Node) =>
  /tx-checksum-ip-generic: (on|off)/.exec(await inside.succeed("ethtool", ["-k", "flannel.1"]))?.[1];

/** Seconds on a machine that has nothing else to do; each missed answer costs another ten. */
const LIMIT_MS = 180_000;

test("it is found out by both nodes, and the kernel fills in the checksums from then on", {
  timeout: LIMIT_MS + 10_000,
}, async () => {
  await eventually(async () => expect(await Promise.all(nodes.map(offload))).toEqual(["off", "off"]), LIMIT_MS);
  for (const node of nodes) {
    expect((await cluster.status(node, "/metrics")).body).toContain('weft_vtep_checksum_offload{device="flannel.1"} 0');
  }
});

test("an Event says so", async () => {
  await eventually(async () => {
    const { items } = (await cluster.api("GET", "/api/v1/events")) as { items: { reason: string; message: string }[] };
    const messages = items.flatMap(({ reason, message }) => (reason === "ChecksumOffloadBroken" ? [message] : []));
    expect(messages).toContainEqual(expect.stringContaining("ethtool -K flannel.1 tx-checksum-ip-generic off"));
  });
});

test("where a peer answers, the hardware goes on with it", async () => {
  const third = await cluster.addNode(3);
  await eventually(async () => {
    const { body } = await cluster.status(third, "/metrics");
    expect(body).toContain('weft_vtep_checksum_offload{device="flannel.1"} 1');
  });
  expect(await offload(third)).toBe("on");
});
