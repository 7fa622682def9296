import { expect, test } from "vitest";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { Flow } from "../../../pkg/kernel/flow.ts";
import { flowMessage, type MadeFlow } from "../../../pkg/kernel/flow-message.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import type { Logger } from "../../core/log.ts";
import { CutConnections } from "./cut-connections.ts";

const [A, B, A6, B6] = ["10.244.1.2", "10.244.1.3", "fd00::2", "fd00::3"].map(parseAddress) as [
  ...[never, never, never, never],
];
const [ENOENT, ENFILE] = [2, 23];

/** Refuses the first transactions with these errors. */
function bench(...errnos: readonly number[]) {
  const commits: string[][] = [];
  const warnings: object[] = [];
  const cut = new CutConnections({
    programmer: {
      commit: async (requests: readonly Request[]) => {
        commits.push(requests.map(({ text }) => text));
        const errno = errnos[commits.length - 1];
        const [first] = requests;
        if (errno !== undefined && first) throw new NetlinkError(first, errno, undefined, "a test");
      },
    },
    log: { warn: (fields: object) => warnings.push(fields) } as unknown as Logger,
  });
  const add = (made: MadeFlow) => {
    const flow = Flow.read(flowMessage(made));
    if (flow !== undefined) cut.add(flow);
  };
  return { commits, warnings, cut, add };
}

test("enters both directions of TCP connections of both families, and no other protocol", async () => {
  const { commits, cut, add } = bench();
  add({ from: A, original: parseAddress("10.96.0.1"), to: B, fromPort: 40_001, port: 8080 });
  add({ from: A6, to: B6 });
  add({ from: A, to: B, protocol: 17 });
  await cut.enter();
  expect(commits).toEqual([
    [
      "nft add element inet weft-policy-cut cut4 { 10.244.1.2 . 40001 . 10.244.1.3 . 8080, 10.244.1.3 . 8080 . 10.244.1.2 . 40001 }",
      "nft add element inet weft-policy-cut cut6 { fd00::2 . 40000 . fd00::3 . 80, fd00::3 . 80 . fd00::2 . 40000 }",
    ],
  ]);
  await cut.enter();
  expect(commits).toHaveLength(1);
});

test("creates the table with the first connections", async () => {
  const { commits, warnings, cut, add } = bench(ENOENT);
  add({ from: A, to: B });
  await cut.enter();
  expect(commits[1]?.[0]).toBe("nft add table inet weft-policy-cut");
  expect(commits[1]?.join("\n")).toContain("cut4 { 10.244.1.2 . 40000 . 10.244.1.3 . 80,");
  expect(warnings).toEqual([]);
});

test("warns if the kernel refuses, and lets the deletion continue", async () => {
  const { warnings, cut, add } = bench(ENFILE);
  add({ from: A, to: B });
  await cut.enter();
  expect(warnings).toMatchObject([{ connections: 1 }]);
});

test("enters thousands of connections in several transactions", async () => {
  const { commits, cut, add } = bench();
  for (let port = 1; port <= 2500; port++) add({ from: A, to: B, fromPort: port });
  await cut.enter();
  expect(commits).toHaveLength(3);
});
