/**
 * Runs inside a namespace of the live tests. Applies the given steps (a JSON list on standard input) to the namespace's
 * nftables, and prints the result of each step as one line of JSON.
 */
import { readFileSync } from "node:fs";
import { SYSTEM_CLOCK } from "../../pkg/cluster/clock.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { networkOf, parsePrefix } from "../../pkg/ip/prefix.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import { EventedNetlink } from "../../pkg/netlink/evented.ts";
import { type Message, NETLINK_NETFILTER, type Query } from "../../pkg/netlink/message.ts";
import { isSameTable, tableQuestions } from "../../pkg/nft/comparison.ts";
import { replaceTable } from "../../pkg/nft/table.ts";
import { openEventNetlink } from "../../pkg/sys/node-netlink.ts";
import { nodeMasquerade } from "../../pkg/tables/masquerade.ts";
import { addPodMasquerade, deletePodMasquerade, podMasqueradeDumps } from "../../pkg/tables/pod-masquerade.ts";

export type Step =
  | { readonly do: "replace" | "compare"; readonly podRanges: readonly string[]; readonly exempt: readonly string[] }
  | { readonly do: "add"; readonly owner: string; readonly addresses: readonly string[] }
  | { readonly do: "race"; readonly owners: readonly string[]; readonly addresses: readonly string[] }
  | { readonly do: "remove"; readonly owner: string };

const netlink = new EventedNetlink(openEventNetlink(NETLINK_NETFILTER), "the test's namespace", SYSTEM_CLOCK);

async function dump(requests: readonly Query[]): Promise<Message[]> {
  const messages: Message[] = [];
  for (const request of requests) {
    try {
      messages.push(...(await netlink.dump(request)));
    } catch (error) {
      if (!isNetlinkError(error, "ENOENT")) throw error;
    }
  }
  return messages;
}

const podEntries = (owner: string, addresses: readonly string[]) =>
  addresses.map(parsePrefix).map((prefix) => ({ owner, address: prefix.address, subnet: networkOf(prefix) }));

async function run(step: Step): Promise<unknown> {
  switch (step.do) {
    case "replace":
    case "compare": {
      const table = nodeMasquerade({
        podRanges: step.podRanges.map(parsePrefix),
        exempt: step.exempt.map(parseAddress),
      });
      if (step.do === "compare") return isSameTable(table, await dump(tableQuestions(table)));
      await netlink.commit(replaceTable(table));
      return "replaced";
    }
    case "add":
      await netlink.commit(addPodMasquerade(await dump(podMasqueradeDumps()), podEntries(step.owner, step.addresses)));
      return "added";
    case "race": {
      // All dump before the first one changes anything, so the kernel must reject the later ones.
      const dumped = await dump(podMasqueradeDumps());
      const answers: string[] = [];
      for (const owner of step.owners) {
        const outcome = netlink.commit(addPodMasquerade(dumped, podEntries(owner, step.addresses)));
        answers.push(
          await outcome.then(
            () => "added",
            (error: unknown) => (isNetlinkError(error) ? error.code : String(error)),
          ),
        );
      }
      return answers;
    }
    case "remove":
      await netlink.commit(deletePodMasquerade(await dump(podMasqueradeDumps()), (owner) => owner === step.owner));
      return "removed";
  }
}

for (const step of JSON.parse(readFileSync(0, "utf8")) as Step[]) {
  process.stdout.write(`${JSON.stringify(await run(step))}\n`);
}
netlink.close();
