import { describe, expect, test } from "vitest";
import { type Encodable, type Message, query } from "../netlink/message.ts";
import { NFPROTO, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE } from "../netlink/nftables.ts";
import { accept, jump, type Statement } from "../nft/expressions.ts";
import { commentUserdata } from "../nft/userdata.ts";
import { type LegacyPart, legacyOf } from "./legacy-names.ts";
import { isLegacyThere, lookAtLegacy, planLegacyRemoval } from "./legacy-nftables.ts";

const ATTACHMENT = { network: "refnet", containerId: "abc123", ifName: "eth0" };
const COMMENT = "7165e11869391df4-ebce0e3dd4dafae3, net: refnet, if: eth0, id: abc123";
const MASQUERADE = "CNI-8334f7910aacd81549d411b8";
const DNAT = "CNI-DN-8334f7910aacd81549d41";
const PARTS: readonly LegacyPart[] = ["masquerade", "portmap", "spoof-check"];

type Family = keyof typeof NFPROTO;
const answer = ({ type, flags, body }: Encodable): Message => ({ type, flags, sequence: 0, portId: 0, payload: body });
let handle = 0n;

/** A table: chains with their use counts, and rules as chain, verdict, comment. */
function table(
  family: Family,
  name: string,
  chains: Record<string, number>,
  rules: readonly (readonly [chain: string, statement: Statement, comment?: string])[],
): Message[] {
  const header = { family: NFPROTO[family] };
  const use = Object.keys(chains).length;
  return [
    answer(query(NFT_MSG_NEWTABLE, "", header, { name, use })),
    ...Object.entries(chains).map(([chain, count]) =>
      answer(query(NFT_MSG_NEWCHAIN, "", header, { table: name, name: chain, use: count })),
    ),
    ...rules.map(([chain, { expressions }, comment]) => {
      const attributes = { table: name, chain, handle: ++handle, expressions, userdata: commentUserdata(comment) };
      return answer(query(NFT_MSG_NEWRULE, "", header, attributes));
    }),
  ];
}

const removal = (seen: readonly Message[], parts = PARTS) => {
  const { requests, needsGeneration } = planLegacyRemoval(seen, legacyOf(ATTACHMENT, parts));
  return { texts: requests.map(({ text }) => text.replace(/ handle.*/, "")), needsGeneration };
};
const isThere = (seen: readonly Message[], part: LegacyPart, family: "ip" | "ip6" = "ip") =>
  isLegacyThere(seen, legacyOf(ATTACHMENT, [part]), part, NFPROTO[family]);
const NOTHING = { texts: [], needsGeneration: false };

test("sends one query if none of their tables exists", () => {
  const asked: string[] = [];
  lookAtLegacy(
    (questions) => {
      asked.push(...questions.map(({ text }) => text));
      return [...table("inet", "site", {}, []), ...table("ip", "filter", {}, [])];
    },
    legacyOf(ATTACHMENT, PARTS),
    PARTS,
  );
  expect(asked).toEqual(["nft list tables"]);
});

describe("tables of the Go plugins", () => {
  const other = ["masq_checks", accept, "7165e11869391df4-0000000000000000, net: refnet"] as const;
  const own = ["masq_checks", accept, COMMENT] as const;

  test("lose an attachment's rules and are removed with the last one", () => {
    const masquerade = (...rules: (typeof own | typeof other)[]) =>
      removal(table("inet", "cni_plugins_masquerade", { masq_checks: 2 }, rules));
    expect(masquerade(own, other)).toEqual({
      texts: ["nft delete rule inet cni_plugins_masquerade masq_checks"],
      needsGeneration: false,
    });
    expect(masquerade(own)).toEqual({ texts: ["nft delete table inet cni_plugins_masquerade"], needsGeneration: true });
    expect(masquerade(other)).toEqual(NOTHING);
  });

  test("of portmap are matched by the container", () => {
    const ports = (...comments: string[]) =>
      removal(
        table(
          "ip6",
          "cni_hostport",
          { hostports: 1 },
          comments.map((comment) => ["hostports", accept, comment]),
        ),
      );
    expect(ports("abc123", "other").texts).toEqual(["nft delete rule ip6 cni_hostport hostports"]);
    expect(ports("abc123").texts).toEqual(["nft delete table ip6 cni_hostport"]);
    expect(ports("other")).toEqual(NOTHING);
  });

  test("contain an attachment's state while it has a rule", () => {
    const masquerade = (rule: typeof own | typeof other) =>
      table("inet", "cni_plugins_masquerade", { masq_checks: 1 }, [rule]);
    expect([own, other].map((rule) => isThere(masquerade(rule), "masquerade"))).toEqual([true, false]);
    const ports = (chain: string, comment: string) =>
      table("ip6", "cni_hostport", { [chain]: 1 }, [[chain, accept, comment]]);
    expect(isThere(ports("hostip_hostports", "abc123"), "portmap", "ip6")).toBe(true);
    expect(isThere(ports("hostip_hostports", "abc123"), "portmap", "ip")).toBe(false);
    expect(isThere(ports("hostports", "other"), "portmap", "ip6")).toBe(false);
    expect(isThere(ports("masquerading", "abc123"), "portmap", "ip6")).toBe(false);
  });
});

describe("iptables' nat table", () => {
  const nat = (uses: Record<string, number>, ...more: Parameters<typeof table>[3]) =>
    table("ip", "nat", { POSTROUTING: 1, PREROUTING: 1, [MASQUERADE]: 1, ...uses }, [
      ["POSTROUTING", jump(MASQUERADE)],
      ...more,
    ]);
  const ports = [
    ["PREROUTING", jump("CNI-HOSTPORT-DNAT")],
    ["CNI-HOSTPORT-DNAT", jump(DNAT)],
    [DNAT, jump("CNI-HOSTPORT-SETMARK")],
    ["CNI-HOSTPORT-SETMARK", accept],
  ] as const;
  const uses = { "CNI-HOSTPORT-DNAT": 2, [DNAT]: 2, "CNI-HOSTPORT-SETMARK": 2 };

  test("loses the attachment's chains, and portmap's with the last attachment", () => {
    expect(removal(nat(uses, ...ports))).toEqual({
      texts: [
        ...["nft delete rule ip nat POSTROUTING", "nft delete rule ip nat CNI-HOSTPORT-DNAT"],
        ...[`nft delete chain ip nat ${MASQUERADE}`, `nft delete chain ip nat ${DNAT}`],
        ...["nft delete rule ip nat PREROUTING", "nft delete chain ip nat CNI-HOSTPORT-DNAT"],
        "nft delete chain ip nat CNI-HOSTPORT-SETMARK",
      ],
      needsGeneration: true,
    });
  });

  test("contains an attachment's state while its chain has rules and is reachable", () => {
    const without = (at: number) => nat(uses, ...ports.filter((_, index) => index !== at));
    expect(isThere(nat(uses, ...ports), "portmap")).toBe(true);
    expect(isThere(nat(uses, ...ports), "portmap", "ip6")).toBe(false);
    expect([0, 1, 2].map((at) => isThere(without(at), "portmap"))).toEqual([false, false, false]);
    expect(isThere(nat(uses, [MASQUERADE, accept]), "masquerade")).toBe(true);
    expect(isThere(nat(uses), "masquerade")).toBe(false);
  });

  test("keeps portmap's chains for other attachments", () => {
    const shared = removal(nat(uses, ...ports, ["CNI-HOSTPORT-DNAT", jump("CNI-DN-other")]));
    expect(shared.texts).not.toContain("nft delete chain ip nat CNI-HOSTPORT-DNAT");
    const used = removal(nat({ ...uses, "CNI-HOSTPORT-SETMARK": 3 }, ...ports));
    expect(used).toMatchObject({ texts: { length: 4 }, needsGeneration: false });
    expect(removal(nat(uses, ...ports), ["masquerade"]).texts).toEqual([
      "nft delete rule ip nat POSTROUTING",
      `nft delete chain ip nat ${MASQUERADE}`,
    ]);
  });
});

describe("the spoof check", () => {
  const [guard, inner] = ["cni-br-iface-abc123-eth0", "cni-br-iface-abc123-eth0-mac"];
  const rules = [
    ["PREROUTING", jump(guard)],
    [guard, jump(inner)],
    [inner, accept],
  ] as const;
  const bridge = (chains: Record<string, number>, ...more: Parameters<typeof table>[3]) =>
    removal(table("bridge", "nat", { PREROUTING: 1, [guard]: 2, [inner]: 3, ...chains }, [...rules, ...more]));

  test("protects a port while both chains have rules and are reachable", () => {
    const left = (at: number) => rules.filter((_, index) => index !== at);
    const held = (kept: Parameters<typeof table>[3]) =>
      isThere(table("bridge", "nat", { PREROUTING: 1, [guard]: 2, [inner]: 3 }, kept), "spoof-check");
    expect(held(rules)).toBe(true);
    expect([0, 1, 2].map((at) => held(left(at)))).toEqual([false, false, false]);
  });

  test("is removed with its table if nothing else is in it", () => {
    expect(bridge({})).toEqual({ texts: ["nft delete table bridge nat"], needsGeneration: true });
  });

  test("is removed without its table if other rules are in it", () => {
    const own = [
      "nft delete rule bridge nat PREROUTING",
      `nft delete chain bridge nat ${guard}`,
      `nft delete chain bridge nat ${inner}`,
    ];
    expect(bridge({ OUTPUT: 0 })).toEqual({ texts: own, needsGeneration: false });
    expect(bridge({}, ["PREROUTING", accept])).toEqual({ texts: own, needsGeneration: false });
  });
});
