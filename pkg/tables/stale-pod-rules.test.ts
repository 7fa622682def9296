import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { type Encodable, query } from "../netlink/message.ts";
import { NFPROTO, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE, VERDICT } from "../netlink/nftables.ts";
import { readNftRuleset } from "../nft/ruleset.ts";
import { dumpOf } from "../nft/table-dump.ts";
import { firewallTable, readFirewall } from "./firewall.ts";
import { acceptPods } from "./pod-forwarding.ts";
import type { SeenPodRules } from "./pod-rules.ts";
import { forwardedAddresses, removeStaleRules } from "./stale-pod-rules.ts";

const FORWARD = [
  query(NFT_MSG_NEWTABLE, "", { family: NFPROTO.ip }, { name: "filter" }),
  query(
    NFT_MSG_NEWCHAIN,
    "",
    { family: NFPROTO.ip },
    { table: "filter", name: "FORWARD", hook: { number: 2, priority: 0 }, policy: VERDICT.drop },
  ),
];
const pods = ["a", "b"].map((id, at) => ({
  owner: `cni:net/${id}/eth0`,
  address: parseAddress(`10.22.0.${at + 2}`),
  bridge: "cni0",
}));
const seen: SeenPodRules = {
  ...{ generation: 1, handles: new Map(), masquerades: [], ports: [], guards: [], senders: [], isolated: [] },
  firewall: readFirewall(dumpOf(firewallTable({ pods, policies: new Map() }))),
};

test("also removes rules in other programs' chains and records of gone attachments", () => {
  const asMessage = ({ type, body }: Encodable) => ({
    ...{ type, flags: 0, sequence: 0, portId: 0, payload: body },
  });
  const accepted = pods.map(({ owner, address }) => ({
    ...{ owner, addresses: [address], adminChain: "CNI-ADMIN", usesFirewalld: undefined },
  }));
  const before = readNftRuleset(FORWARD.map(asMessage));
  const made = acceptPods({ foreign: before, records: [] }, accepted, false);
  expect(made.some(({ type }) => type === NFT_MSG_NEWRULE.type)).toBe(true);
  const foreign = readNftRuleset([...FORWARD, ...made].map(asMessage));
  const isStale = (owner: string) => owner === "cni:net/a/eth0";
  const addresses = forwardedAddresses(seen, isStale);
  expect(addresses).toEqual([pods[0]?.address]);
  const records = addresses.map((address) => ({ address, handles: [1n] }));
  const texts = removeStaleRules(seen, isStale, { foreign, records }).map(({ text }) => text);
  expect(texts.filter((text) => text.includes("delete rule ip filter CNI-FORWARD"))).toHaveLength(2);
  expect(texts).toContain("nft delete element inet weft_firewall pods4 (1 of them)");
  expect(texts).toContain("nft delete element inet weft_firewall rule-handles4 (1 of them)");
  expect(removeStaleRules(seen, () => false, undefined)).toEqual([]);
});
