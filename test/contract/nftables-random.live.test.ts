/**
 * The fake nf_tables compared with the kernel: random transactions fail with the same errno and leave the same state
 * after each, including those of weft's own tables. Runs 60 histories, or WEFT_NFT_RUNS others. Needs root, ip and
 * nf_tables.
 */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseAddress } from "../../pkg/ip/address.ts";
import { networkOf, parsePrefix } from "../../pkg/ip/prefix.ts";
import type { Request } from "../../pkg/netlink/message.ts";
import { replaceTable, type Table } from "../../pkg/nft/table.ts";
import { firewallTable } from "../../pkg/tables/firewall.ts";
import { macSpoofTable } from "../../pkg/tables/mac-spoof.ts";
import { nodeMasquerade } from "../../pkg/tables/masquerade.ts";
import { podMasquerade } from "../../pkg/tables/pod-masquerade.ts";
import { SENDERS_FAMILIES, sendersTable } from "../../pkg/tables/senders-table.ts";
import { describeWhere, isKernelFrom } from "../live/harness/kernel.ts";
import { OWN_PREFIX } from "../live/harness/leftovers.ts";
import { fakeSide } from "./nftables/fake-side.ts";
import { KernelSide } from "./nftables/kernel-side.ts";
import { CHAINS, type Handles, randomHistory, START } from "./nftables/random.ts";
import { commit, handlesOf, listAll, type Side } from "./nftables/side.ts";

const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write("nftables contract skipped: it makes a network namespace, which needs root\n");
const { WEFT_NFT_RUNS } = process.env;
/** The default histories are always the same ones. A requested number runs new ones. */
const RUNS = WEFT_NFT_RUNS === undefined ? { numRuns: 60, seed: 1 } : { numRuns: Number(WEFT_NFT_RUNS) };

const owner = "cni:net/a/eth0";
const addresses = ["10.1.0.2/24", "fd00:1::2/64"].map(parsePrefix);
const TABLES: readonly Table[] = [
  nodeMasquerade({
    podRanges: ["10.244.0.0/16", "10.245.0.0/16", "10.250.1.0/24", "fd00:10::/56", "255.255.255.0/24"].map(parsePrefix),
    exempt: ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(parseAddress),
  }),
  podMasquerade(addresses.map((prefix) => ({ owner, address: prefix.address, subnet: networkOf(prefix) }))),
  macSpoofTable([{ owner, port: "veth1", mac: "02:00:00:00:00:01" }]),
  ...SENDERS_FAMILIES.map((family) =>
    sendersTable(family, [
      {
        ...{ family, owner, port: "veth1", mac: "02:00:00:00:00:01", asksDhcp: true },
        addresses: addresses.map(({ address }) => address),
      },
    ]),
  ),
  firewallTable({
    pods: addresses.map((prefix) => ({ owner, bridge: "cni0", address: prefix.address })),
    policies: new Map([["cni0", "isolated"]]),
  }),
];

async function handlesIn(side: Side): Promise<Handles> {
  const handles = new Map<string, readonly bigint[]>();
  for (const chain of CHAINS) handles.set(chain, await handlesOf(side, chain));
  return (chain) => handles.get(chain) ?? [];
}

const describeRequest = ({ text, flags, body }: Request) => `${text} (${flags}) ${Buffer.from(body).toString("hex")}`;

// Kernels differ in which of several faults they report, and in when registers count as unset.
describeWhere(isRoot && isKernelFrom(6, 18))("the fake nf_tables and the kernel's", () => {
  let kernel: KernelSide;
  beforeAll(async () => {
    kernel = await KernelSide.open(`${OWN_PREFIX}nftr`);
  });
  afterAll(() => kernel.close());

  test("random transactions give the same errno and the same dumps", { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(randomHistory, async (history) => {
        const fake = fakeSide();
        await kernel.empty();
        for (const side of [fake, kernel]) expect(await commit(side, ...START)).toBe("done");
        for (const transaction of history) {
          const outcomes: string[] = [];
          for (const side of [fake, kernel]) {
            const handles = await handlesIn(side);
            const requests = transaction.map((request) => request(handles));
            const outcome = await commit(side, ...requests);
            const at = requests.findIndex(({ text }) => outcome.endsWith(`: ${text}`));
            outcomes.push(`${outcome.split(":")[0]} of ${at}`);
          }
          const told = transaction.map((request) => describeRequest(request(() => []))).join("; ");
          expect(outcomes[0], told).toBe(outcomes[1]);
          expect(await listAll(fake), told).toEqual(await listAll(kernel));
        }
      }),
      RUNS,
    );
  });

  test.each(TABLES.map((table) => [table.name, table] as const))(
    "give the same dump of %s, field by field",
    async (_, table) => {
      const fake = fakeSide();
      await kernel.empty();
      for (const side of [fake, kernel]) expect(await commit(side, ...replaceTable(table))).toBe("done");
      expect(await listAll(fake)).toEqual(await listAll(kernel));
    },
  );
});
