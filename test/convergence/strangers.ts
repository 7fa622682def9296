/** The nf_tables objects of other programs on a node. */
import { NLM_F_APPEND, NLM_F_CREATE, type Request } from "../../pkg/netlink/message.ts";
import {
  type Expression,
  NF_INET_HOOK,
  NFPROTO,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
  VERDICT,
} from "../../pkg/netlink/nftables.ts";
import { jump } from "../../pkg/nft/expressions.ts";
import { change } from "./change.ts";

type FamilyName = keyof typeof NFPROTO;
/** NFT_TABLE_F_OWNER */
const OWNED = 2;
const { forward, postrouting } = NF_INET_HOOK;

export const table = (family: FamilyName, name: string, flags = 0): Request =>
  change(NFT_MSG_NEWTABLE, `add table ${family} ${name}`, { family: NFPROTO[family] }, { name, flags }, NLM_F_CREATE);

export function chain(
  family: FamilyName,
  tableName: string,
  name: string,
  base?: { readonly hook: number; readonly type?: string; readonly policy?: number },
): Request {
  const { hook = 0, type = "filter", policy = VERDICT.accept } = base ?? {};
  const at = base === undefined ? {} : { hook: { number: hook, priority: type === "nat" ? 100 : 0 }, type, policy };
  return change(
    NFT_MSG_NEWCHAIN,
    `add chain ${family} ${tableName} ${name}`,
    { family: NFPROTO[family] },
    { table: tableName, name, ...at },
    NLM_F_CREATE,
  );
}

export const rule = (
  family: FamilyName,
  tableName: string,
  chainName: string,
  ...expressions: readonly Expression[]
): Request =>
  change(
    NFT_MSG_NEWRULE,
    `add rule ${family} ${tableName} ${chainName}`,
    { family: NFPROTO[family] },
    { table: tableName, chain: chainName, expressions },
    NLM_F_CREATE | NLM_F_APPEND,
  );

/** An xtables extension, as iptables-nft writes it. */
export const xtables = (kind: "match" | "target", name: string): Expression => ({
  kind,
  data: { name, revision: 0, info: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
});

/** Programs and what they create. Their tables differ, so all of them may run on one node. */
export const STRANGERS: Readonly<Record<string, readonly Request[]>> = {
  /** iptables-nft with a FORWARD policy of drop, and a rule with an extension. */
  docker: [
    table("ip", "filter"),
    chain("ip", "filter", "FORWARD", { hook: forward, policy: VERDICT.drop }),
    chain("ip", "filter", "DOCKER-USER"),
    rule("ip", "filter", "FORWARD", xtables("match", "conntrack"), xtables("target", "LOG")),
    rule("ip", "filter", "FORWARD", ...jump("DOCKER-USER").expressions),
  ],
  /** kube-proxy in iptables mode: a chain for each service. */
  kubeProxy: [
    table("ip", "nat"),
    chain("ip", "nat", "POSTROUTING", { hook: postrouting, type: "nat" }),
    ...Array.from({ length: 20 }, (_, at) => [
      chain("ip", "nat", `KUBE-SVC-${at}`),
      rule("ip", "nat", "POSTROUTING", xtables("match", "comment"), ...jump(`KUBE-SVC-${at}`).expressions),
    ]).flat(),
  ],
  /** An administrator's ruleset. */
  site: [
    table("inet", "site"),
    chain("inet", "site", "forward", { hook: forward, policy: VERDICT.drop }),
    rule("inet", "site", "forward", { kind: "counter", data: {} }),
    change(
      NFT_MSG_NEWSET,
      "add set inet site blocked",
      { family: NFPROTO.inet },
      { table: "site", name: "blocked", keyType: 7, keyLength: 4, id: 1 },
      NLM_F_CREATE,
    ),
    change(
      NFT_MSG_NEWSETELEM,
      "add element inet site blocked",
      { family: NFPROTO.inet },
      { table: "site", set: "blocked", elements: [{ key: { value: Uint8Array.of(198, 51, 100, 1) } }] },
      NLM_F_CREATE,
    ),
  ],
  /** A table with NFT_TABLE_F_OWNER. */
  firewalld: [
    table("inet", "firewalld", OWNED),
    chain("inet", "firewalld", "filter_FORWARD", { hook: forward, policy: VERDICT.drop }),
  ],
};
