import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { type Encodable, type Message, query, type Request } from "../netlink/message.ts";
import { NFPROTO, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE, VERDICT } from "../netlink/nftables.ts";
import { readNftRuleset } from "../nft/ruleset.ts";
import {
  type AcceptedPod,
  acceptPods,
  forgetPods,
  recordRules,
  type SeenForwarding,
  unacceptedPods,
} from "./pod-forwarding.ts";

const asMessage = ({ type, body }: Encodable): Message => ({ type, flags: 0, sequence: 0, portId: 0, payload: body });
const table = (name: string) => asMessage(query(NFT_MSG_NEWTABLE, "", { family: NFPROTO.ip }, { name }));
const base = (name: string, chain: string, policy: "drop" | "accept") =>
  asMessage(
    query(
      NFT_MSG_NEWCHAIN,
      "",
      { family: NFPROTO.ip },
      { table: name, name: chain, hook: { number: 2, priority: 0 }, policy: VERDICT[policy] },
    ),
  );
const pod = (id: string, address: string, more: Partial<AcceptedPod> = {}): AcceptedPod => ({
  ...{ owner: `cni:net/${id}/eth0`, addresses: [parseAddress(address)], adminChain: "CNI-ADMIN" },
  usesFirewalld: undefined,
  ...more,
});
const [a, b] = [pod("a", "10.22.0.2"), pod("b", "10.22.0.3")];
const texts = (requests: readonly Request[]) => requests.map(({ text }) => text).join("\n");

/** The kernel's state after `requests`, in addition to `others`. */
function after(requests: readonly Request[], ...others: readonly Message[]): SeenForwarding {
  let handle = 0n;
  const made = requests.map((item) => {
    const message = asMessage(item);
    if (item.type !== NFT_MSG_NEWRULE.type) return message;
    // NFTA_RULE_HANDLE: 12 bytes, type 3.
    const bytes = new Uint8Array(12);
    new DataView(bytes.buffer).setUint16(0, 12, true);
    new DataView(bytes.buffer).setUint16(2, 3, true);
    new DataView(bytes.buffer).setBigUint64(4, ++handle);
    return { ...message, payload: Uint8Array.of(...message.payload, ...bytes) };
  });
  return { foreign: readNftRuleset([...others, ...made]), records: [] };
}

const EMPTY = after([]);
const IPTABLES = [table("filter"), base("filter", "FORWARD", "accept")];

test("adds the rules of all pods to iptables' filter table, which it creates only on request", () => {
  expect(acceptPods(EMPTY, [a, b], false)).toEqual([]);
  expect(texts(acceptPods(EMPTY, [a, b], true))).toMatch(
    /add table ip filter[\s\S]*saddr 10.22.0.2[\s\S]*saddr 10.22.0.3/,
  );
  expect(texts(acceptPods(after([], ...IPTABLES), [a], false))).toContain("ip filter CNI-FORWARD ip saddr 10.22.0.2");
});

test("returns only pods that lack a rule", () => {
  const seen = after(acceptPods(after([], ...IPTABLES), [a], false), ...IPTABLES);
  expect(acceptPods(seen, [a], false)).toEqual([]);
  expect(unacceptedPods(seen, [a, b], false)).toEqual([b]);
});

test("adds no rules for pods that firewalld accepts, by configuration or because firewalld runs", () => {
  const firewalld = [table("firewalld"), base("firewalld", "filter_FORWARD", "drop")];
  expect(acceptPods(after([], ...firewalld), [a], true)).toEqual([]);
  expect(texts(acceptPods(after([], ...firewalld), [{ ...a, usesFirewalld: false }], false))).toContain("ip firewalld");
  expect(acceptPods(after([], ...IPTABLES), [{ ...a, usesFirewalld: true }], true)).toEqual([]);
});

test("removes added rules, and records their handles", () => {
  const requests = acceptPods(after([], ...IPTABLES), [a, b], false);
  const seen = after(requests, ...IPTABLES);
  const removal = texts(forgetPods(seen, (owner) => owner === a.owner, a.addresses, "CNI-ADMIN"));
  expect(removal.match(/delete rule/g)).toHaveLength(2);
  const echoes = requests.filter(({ type }) => type === NFT_MSG_NEWRULE.type).map(asMessage);
  expect(texts(recordRules(a.addresses, [], echoes))).toContain("weft_firewall rule-handles4 { 10.22.0.2 }");
  expect(recordRules(a.addresses, [], [])).toEqual([]);
});
