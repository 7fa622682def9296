import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parseSubnet } from "../ip/prefix.ts";
import { type Encodable, type Message, query } from "../netlink/message.ts";
import {
  type Expression,
  NFPROTO,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWTABLE,
  VERDICT,
} from "../netlink/nftables.ts";
import { accept, counter, drop, jump, matchAddress, returnToCaller } from "../nft/expressions.ts";
import { type NftRuleset, readNftRuleset } from "../nft/ruleset.ts";
import { commentUserdata } from "../nft/userdata.ts";
import { acceptForwarded, acceptForwardedRanges, forgetRanges } from "./foreign-forward.ts";
import { lookAtForwarding } from "./forward-look.ts";
import { forgetForwarded } from "./forward-removal.ts";

const POD = { owner: "cni:net/c1/eth0", addresses: [parseAddress("10.1.0.2"), parseAddress("fd00::2")] };
const OPTIONS = { adminChain: "CNI-ADMIN" };

const answer = ({ type, flags, body }: Encodable): Message => ({ type, flags, sequence: 0, portId: 0, payload: body });

interface Place {
  readonly family: keyof typeof NFPROTO;
  readonly table: string;
  readonly chain: string;
}

function base(place: Place, policy: "drop" | "accept", hook = 2): Message {
  const { table, chain: name } = place;
  const attributes = { table, name, hook: { number: hook, priority: 0 }, policy: VERDICT[policy], use: 0 };
  return answer(query(NFT_MSG_NEWCHAIN, "", { family: NFPROTO[place.family] }, attributes));
}

function regular({ family, table, chain: name }: Place, use: number, comment?: string): Message {
  const attributes = { table, name, use, userdata: commentUserdata(comment) };
  return answer(query(NFT_MSG_NEWCHAIN, "", { family: NFPROTO[family] }, attributes));
}

function table({ family, table: name }: Place, comment?: string, use = 0): Message {
  const attributes = { name, use, userdata: commentUserdata(comment) };
  return answer(query(NFT_MSG_NEWTABLE, "", { family: NFPROTO[family] }, attributes));
}

let handle = 0n;
function rule(place: Place, expressions: readonly Expression[], comment?: string): Message {
  const { table, chain } = place;
  const attributes = { table, chain, handle: ++handle, expressions, userdata: commentUserdata(comment) };
  return answer(query(NFT_MSG_NEWRULE, "", { family: NFPROTO[place.family] }, attributes));
}

const SITE: Place = { family: "inet", table: "site", chain: "forward" };
const SIDE: Place = { ...SITE, chain: "side" };
const FORWARD: Place = { family: "ip", table: "filter", chain: "FORWARD" };
const PRIVATE: Place = { ...FORWARD, chain: "CNI-FORWARD" };
const ADMIN: Place = { ...FORWARD, chain: "CNI-ADMIN" };

const onlySource = matchAddress("saddr", parseAddress("192.0.2.1")).expressions;
const xtables = (kind: "match" | "target", name: string): Expression => ({
  kind,
  data: { name, revision: 0, info: new Uint8Array(8) },
});
/** A family without weft's tables, which is read only by its name. */
const reject = { kind: "reject" } as unknown as Expression;

const planned = (seen: NftRuleset) => acceptForwarded(seen, [POD], OPTIONS).map(({ text }) => text);
const plan = (seen: readonly Message[]) => planned(readNftRuleset(seen));

describe("a chain drops packets that match no rule", () => {
  test.each<[string, Message[]]>([
    ["by its policy", [base(SITE, "drop")]],
    ["by a last rule", [base(SITE, "accept"), rule(SITE, onlySource), rule(SITE, drop.expressions)]],
    ["by a reject with a counter", [base(SITE, "accept"), rule(SITE, [...counter.expressions, reject])]],
    ["by the REJECT of xtables", [base(SITE, "accept"), rule(SITE, [xtables("target", "REJECT")])]],
    [
      "with a comment of xtables",
      [base(SITE, "accept"), rule(SITE, [xtables("match", "comment"), ...drop.expressions])],
    ],
    [
      "in a chain that all packets pass",
      [base(SITE, "accept"), regular(SIDE, 2), rule(SITE, jump("side").expressions), rule(SIDE, drop.expressions)],
    ],
    [
      "after a chain that returns all packets",
      [
        base(SITE, "drop"),
        regular(SIDE, 2),
        rule(SITE, jump("side").expressions),
        rule(SIDE, returnToCaller.expressions),
      ],
    ],
    ["by returning to its policy", [base(SITE, "drop"), rule(SITE, returnToCaller.expressions)]],
  ])("%s", (_, seen) => {
    expect(plan(seen)).toEqual([
      'nft insert rule inet site forward meta nfproto ipv6 ip6 saddr fd00::2 counter accept comment "cni:net/c1/eth0"',
      'nft insert rule inet site forward meta nfproto ipv6 ip6 daddr fd00::2 ct state established,related counter accept comment "cni:net/c1/eth0"',
      'nft insert rule inet site forward meta nfproto ipv4 ip saddr 10.1.0.2 counter accept comment "cni:net/c1/eth0"',
      'nft insert rule inet site forward meta nfproto ipv4 ip daddr 10.1.0.2 ct state established,related counter accept comment "cni:net/c1/eth0"',
    ]);
  });

  test.each<[string, Message[]]>([
    ["policy accept", [base(SITE, "accept")]],
    ["a drop with a condition", [base(SITE, "accept"), rule(SITE, [...onlySource, ...drop.expressions])]],
    [
      "a drop with a match of xtables",
      [base(SITE, "accept"), rule(SITE, [xtables("match", "mark"), ...drop.expressions])],
    ],
    ["an accept before the drop", [base(SITE, "drop"), rule(SITE, accept.expressions), rule(SITE, drop.expressions)]],
    ["another hook", [base(SITE, "drop", 1)]],
    ["another family", [base({ ...SITE, family: "bridge" }, "drop")]],
    ["a table of our own", [base({ ...SITE, table: "weft_firewall" }, "drop")]],
    ["no chain", []],
  ])("but not with %s", (_, seen) => {
    expect(plan(seen)).toEqual([]);
  });

  test("evaluation of chains that jump to each other ends", () => {
    const loop = [rule(SITE, jump("side").expressions), rule(SIDE, jump("side").expressions)];
    expect(plan([base(SITE, "accept"), regular(SIDE, 2), ...loop])).toEqual([]);
  });
});

describe("iptables' filter table", () => {
  test("FORWARD jumps to CNI-FORWARD, and that first to the administrator's chain, for its own family only", () => {
    expect(plan([base(FORWARD, "drop")])).toEqual([
      "nft add chain ip filter CNI-FORWARD",
      "nft add chain ip filter CNI-ADMIN",
      'nft insert rule ip filter FORWARD counter jump CNI-FORWARD comment "CNI firewall plugin rules"',
      'nft insert rule ip filter CNI-FORWARD counter jump CNI-ADMIN comment "CNI firewall plugin admin overrides"',
      "nft add rule ip filter CNI-FORWARD ip daddr 10.1.0.2 ct state established,related counter accept",
      "nft add rule ip filter CNI-FORWARD ip saddr 10.1.0.2 counter accept",
    ]);
  });

  test("an existing administrator's chain gets a jump even if nothing drops, and FORWARD is created for it", () => {
    expect(plan([base(FORWARD, "accept"), regular(ADMIN, 0)])[0]).toBe("nft add chain ip filter CNI-FORWARD");
    expect(plan([table(ADMIN), regular(ADMIN, 0)])[0]).toMatch(/^nft add chain ip filter FORWARD .*policy accept/);
    expect(plan([base(FORWARD, "accept"), regular({ ...ADMIN, chain: "ELSE" }, 0)])).toEqual([]);
  });

  test("existing rules are not added again, in either format of comments", () => {
    const requests = acceptForwarded(readNftRuleset([base(FORWARD, "drop")]), [POD], OPTIONS);
    const made = requests.filter(({ type }) => type === NFT_MSG_NEWRULE.type).map(answer);
    const chains = [base(FORWARD, "drop"), regular(PRIVATE, 4), regular(ADMIN, 1)];
    expect(plan([...chains, ...made])).toEqual([]);
    expect(plan([...chains, ...made.slice(0, 3)])).toHaveLength(1);
  });

  const pods = (owner: string) => [rule(PRIVATE, accept.expressions, owner)];
  const removal = (seen: readonly Message[], owner = POD.owner) =>
    forgetForwarded(readNftRuleset(seen), { isWanted: (mark) => mark === owner, addresses: [] }, OPTIONS);
  const jumps = () => [rule(FORWARD, jump("CNI-FORWARD").expressions), rule(PRIVATE, jump("CNI-ADMIN").expressions)];

  test("the chains are removed with the last pod, other programs' chains are kept", () => {
    const seen = (comment: string | undefined) => [
      ...[base(FORWARD, "drop"), regular(PRIVATE, 3, "weft"), regular(ADMIN, 1, comment)],
      ...[...jumps(), ...pods(POD.owner)],
    ];
    const deleted = (comment: string | undefined) =>
      removal(seen(comment)).requests.map(({ text }) => text.replace(/ handle.*/, ""));
    expect(deleted("weft")).toEqual([
      "nft delete rule ip filter CNI-FORWARD",
      "nft delete rule ip filter FORWARD",
      "nft delete rule ip filter CNI-FORWARD",
      "nft delete chain ip filter CNI-FORWARD",
      "nft delete chain ip filter CNI-ADMIN",
    ]);
    expect(deleted(undefined)).not.toContain("nft delete chain ip filter CNI-ADMIN");
    expect(removal(seen("weft")).needsGeneration).toBe(true);
  });

  test("in mode always, rules are added even if nothing drops, and missing tables are created", () => {
    const always = (seen: readonly Message[], makesTables = true) =>
      acceptForwarded(readNftRuleset(seen), [POD], { ...OPTIONS, inFilter: "always", makesTables }).map(
        ({ text }) => text,
      );
    expect(always([]).filter((text) => / (table|chain) ip /.test(text))).toEqual([
      "nft add table ip filter",
      "nft add chain ip filter FORWARD { type filter hook forward priority 0; policy accept; }",
      "nft add chain ip filter CNI-FORWARD",
      "nft add chain ip filter CNI-ADMIN",
    ]);
    expect(always([])).toContain("nft add rule ip6 filter CNI-FORWARD ip6 saddr fd00::2 counter accept");
    expect(always([table(FORWARD), base(FORWARD, "accept")])).toContain("nft add table ip6 filter");
    expect(always([table(FORWARD), base(FORWARD, "accept")])).not.toContain("nft add table ip filter");
    expect(always([], false)).toEqual([]);
    const own = { ...FORWARD, chain: "forward" };
    expect(always([table(own), base(own, "accept")]).filter((text) => / ip filter/.test(text))).toEqual([]);
  });

  test("rules without a comment are removed by address, and the chain if its use count shows that it is empty", () => {
    const made = acceptForwarded(readNftRuleset([base(FORWARD, "drop")]), [POD], OPTIONS)
      .filter(({ type }) => type === NFT_MSG_NEWRULE.type)
      .map(answer);
    const seen = (use: number) =>
      readNftRuleset([
        ...[table(FORWARD, "weft", 3), { ...base(FORWARD, "accept") }],
        ...[regular(PRIVATE, use, "weft"), regular(ADMIN, 1, "weft"), ...made],
      ]);
    const forget = (use: number) =>
      forgetForwarded(seen(use), { isWanted: () => false, addresses: POD.addresses }, OPTIONS);
    expect(forget(4)).toMatchObject({ needsGeneration: true, isLast: false });
    // A rule that jumps there was not read: a shallow read.
    expect(forget(5)).toMatchObject({ requests: { length: 2 }, needsGeneration: false, isLast: false });
    const shallow = readNftRuleset([base(FORWARD, "accept"), regular(PRIVATE, 4, "weft"), ...made.slice(2)]);
    expect(forgetForwarded(shallow, { isWanted: () => false, addresses: POD.addresses }, OPTIONS)).toMatchObject({
      ...{ requests: { length: 2 }, needsGeneration: false, isLast: true },
    });
  });

  test("the chains are kept while another pod or program needs them", () => {
    const chains = (use: number) => [base(FORWARD, "drop"), regular(PRIVATE, use, "weft"), regular(ADMIN, 1, "weft")];
    const shared = [...chains(4), ...jumps(), ...pods(POD.owner), ...pods("cni:net/c2/eth0")];
    expect(removal(shared)).toMatchObject({ requests: { length: 1 }, needsGeneration: false });
    const used = [...chains(9), ...jumps(), ...pods(POD.owner)];
    expect(removal(used)).toMatchObject({ requests: { length: 1 }, needsGeneration: false });
    expect(removal(shared, "cni:net/c3/eth0").requests).toEqual([]);
  });
});

test("reads only rules of relevant chains, and iptables' chains by name", () => {
  const answers: Record<string, Message[]> = {
    "nft list tables": [
      table(SITE),
      table(FORWARD),
      table({ ...FORWARD, table: "nat" }),
      table({ ...SITE, table: "weft" }),
    ],
    "nft list chain ip filter FORWARD (without rules)": [base(FORWARD, "drop")],
    "nft list chain ip filter CNI-FORWARD (without rules)": [],
    "nft list chain ip filter CNI-ADMIN (without rules)": [],
    "nft list chains inet": [base(SITE, "accept"), regular(SIDE, 2), base({ ...SITE, chain: "in" }, "drop", 1)],
    "nft list chain ip filter FORWARD": [],
    "nft list chain inet site forward": [
      rule(SITE, [...onlySource, ...jump("other").expressions]),
      rule(SITE, jump("side").expressions),
    ],
    "nft list chain inet site side (without rules)": [regular(SIDE, 2)],
    "nft list chain inet site side": [rule(SIDE, drop.expressions)],
  };
  const asked: string[] = [];
  const seen = lookAtForwarding((questions) => {
    asked.push(...questions.map(({ text }) => text));
    return questions.flatMap(({ text }) => answers[text] ?? []);
  }, OPTIONS);
  expect(asked).toEqual(Object.keys(answers));
  expect(planned(seen).filter((text) => text.includes("inet site"))).toHaveLength(4);
});

test("reads a table called filter that is not iptables' like any other", () => {
  const own = { ...FORWARD, chain: "forward" };
  const answers: Record<string, Message[]> = {
    "nft list tables": [answer(query(NFT_MSG_NEWTABLE, "", { family: NFPROTO.ip }, { name: "filter" }))],
    "nft list chains ip": [base(own, "drop")],
  };
  const seen = lookAtForwarding((questions) => questions.flatMap(({ text }) => answers[text] ?? []), OPTIONS);
  expect(planned(seen)).toEqual([
    'nft insert rule ip filter forward ip saddr 10.1.0.2 counter accept comment "cni:net/c1/eth0"',
    expect.stringMatching(/^nft insert rule ip filter forward ip daddr/),
  ]);
});

describe("ranges", () => {
  const ranges = ["10.244.0.0/16", "10.192.0.0/12", "fd00::/48"].map((text) => ({
    owner: `weft:pods ${text}`,
    range: parseSubnet(text),
  }));
  const texts = (seen: readonly Message[]) =>
    acceptForwardedRanges(readNftRuleset(seen), ranges, OPTIONS).map(({ text }) => text);

  test("are accepted in both directions at the head of a chain that drops, once", () => {
    const wanted = [
      'nft insert rule inet site forward meta nfproto ipv6 ip6 saddr fd00::/48 counter accept comment "weft:pods fd00::/48"',
      'nft insert rule inet site forward meta nfproto ipv6 ip6 daddr fd00::/48 counter accept comment "weft:pods fd00::/48"',
      'nft insert rule inet site forward meta nfproto ipv4 ip saddr 10.192.0.0/12 counter accept comment "weft:pods 10.192.0.0/12"',
      'nft insert rule inet site forward meta nfproto ipv4 ip daddr 10.192.0.0/12 counter accept comment "weft:pods 10.192.0.0/12"',
      'nft insert rule inet site forward meta nfproto ipv4 ip saddr 10.244.0.0/16 counter accept comment "weft:pods 10.244.0.0/16"',
      'nft insert rule inet site forward meta nfproto ipv4 ip daddr 10.244.0.0/16 counter accept comment "weft:pods 10.244.0.0/16"',
    ];
    expect(texts([base(SITE, "drop")])).toEqual(wanted);
    const made = acceptForwardedRanges(readNftRuleset([base(SITE, "drop")]), ranges, OPTIONS).map(answer);
    expect(texts([base(SITE, "drop"), ...made])).toEqual([]);
    expect(texts([base(SITE, "drop"), ...made.slice(1)])).toEqual(wanted.slice(0, 1));
  });

  test("are accepted in the plugin's chain in iptables' tables, only in their own family", () => {
    expect(texts([base(FORWARD, "drop")])).toEqual([
      "nft add chain ip filter CNI-FORWARD",
      "nft add chain ip filter CNI-ADMIN",
      'nft insert rule ip filter FORWARD counter jump CNI-FORWARD comment "CNI firewall plugin rules"',
      'nft insert rule ip filter CNI-FORWARD counter jump CNI-ADMIN comment "CNI firewall plugin admin overrides"',
      'nft add rule ip filter CNI-FORWARD ip daddr 10.244.0.0/16 counter accept comment "weft:pods 10.244.0.0/16"',
      'nft add rule ip filter CNI-FORWARD ip saddr 10.244.0.0/16 counter accept comment "weft:pods 10.244.0.0/16"',
      'nft add rule ip filter CNI-FORWARD ip daddr 10.192.0.0/12 counter accept comment "weft:pods 10.192.0.0/12"',
      'nft add rule ip filter CNI-FORWARD ip saddr 10.192.0.0/12 counter accept comment "weft:pods 10.192.0.0/12"',
    ]);
  });

  test("that are obsolete are removed, other programs' rules are kept", () => {
    const seen = readNftRuleset([
      base(SITE, "drop"),
      rule(SITE, onlySource, "weft:pods 10.1.0.0/16"),
      rule(SITE, onlySource, "weft:pods 10.244.0.0/16"),
      rule(SITE, onlySource, "cni:net/c1/eth0"),
      rule(SITE, onlySource),
    ]);
    const forgotten = forgetRanges(seen, (owner) => owner === "weft:pods 10.1.0.0/16");
    expect(forgotten.map(({ text }) => text)).toEqual([expect.stringMatching(/^nft delete rule inet site forward/)]);
  });
});
