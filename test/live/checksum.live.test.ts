/**
 * A network card that leaves encapsulated packets without a checksum: weftd detects it and switches the offload off.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Node } from "./harness/cluster.ts";
import { eventually } from "./harness/process.ts";

const cleanup = new Cleanup();
let cluster: Cluster;
let nodes: readonly [Node, Node];

/**
 * If a probe datagram between the VTEPs 10.244.1.0 and 10.244.2.0 has no filled-in checksum, the field holds the sum of
 * the pseudo header (RFC 768), 56 bytes after the start of the outer UDP header.
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

/** The test takes seconds on an idle machine. Each lost answer adds ten. */
const LIMIT_MS = 180_000;

test("both nodes detect it, and the kernel computes the checksums from then on", {
  timeout: LIMIT_MS + 10_000,
}, async () => {
  await eventually(async () => expect(await Promise.all(nodes.map(offload))).toEqual(["off", "off"]), LIMIT_MS);
  for (const node of nodes) {
    expect((await cluster.status(node, "/metrics")).body).toContain('weft_vtep_checksum_offload{device="flannel.1"} 0');
  }
});

test("an Event reports it", async () => {
  await eventually(async () => {
    const { items } = (await cluster.api("GET", "/api/v1/events")) as { items: { reason: string; message: string }[] };
    const messages = items.flatMap(({ reason, message }) => (reason === "ChecksumOffloadBroken" ? [message] : []));
    expect(messages).toContainEqual(expect.stringContaining("ethtool -K flannel.1 tx-checksum-ip-generic off"));
  });
});

test("the hardware offload stays on if a peer answers", async () => {
  const third = await cluster.addNode(3);
  await eventually(async () => {
    const { body } = await cluster.status(third, "/metrics");
    expect(body).toContain('weft_vtep_checksum_offload{device="flannel.1"} 1');
  });
  expect(await offload(third)).toBe("on");
});
