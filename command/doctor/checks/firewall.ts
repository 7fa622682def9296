/** Rules: the node's own, and those of others that stand in pods' way. */

import type { Finding, Incoming, Obstacle } from "../../../pkg/backend/inspection.ts";
import { type Address, parseAddress } from "../../../pkg/ip/address.ts";
import { firstHost, formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import { NF_INET_HOOK, NFPROTO } from "../../../pkg/netlink/nftables.ts";
import { RTN_LOCAL, RTN_UNICAST } from "../../../pkg/netlink/route.ts";
import { type ChainPlace, type NftRule, placeText, verdictOf } from "../../../pkg/nft/ruleset.ts";
import type { Packet } from "../../../pkg/packet-walk/packet.ts";
import { type Ending, isStopped, type Ruleset, walk } from "../../../pkg/packet-walk/ruleset.ts";
import type { Facts } from "../facts.ts";
import type { Check } from "../finding.ts";
import { underlayName } from "./kernel.ts";

export const nodeRules: Check = {
  name: "node-rules",
  group: "firewall",
  about: "weftd's table inet weft masquerades what pods send to the outside",
  judge({ table, rules }) {
    if (table === undefined) return [];
    return table.node.subnets.flatMap((subnet): Finding[] => {
      const packet: Packet = {
        source: podOf(subnet),
        destination: OUTSIDE[subnet.address.family],
        destinationType: RTN_UNICAST,
      };
      if (walk(rules.ruleset, NF_INET_HOOK.postrouting, packet).translation !== undefined) return [];
      return [
        {
          severity: "error",
          seen: `no rule masquerades what pods of ${formatPrefix(subnet)} send to the outside`,
          why: "others see pods' own addresses, and their answers find no way back",
          advice:
            "restart weftd: it makes its table inet weft anew (none is needed where --non-masquerade-cidrs covers everything)",
        },
      ];
    });
  },
};

/** For documentation (RFC 5737, RFC 3849): nobody's. */
const OUTSIDE = { 4: parseAddress("198.51.100.1"), 6: parseAddress("2001:db8:ffff::1") } as const;

/** The second host: the first one is the gateway. */
function podOf(subnet: Prefix): Address {
  const first = firstHost(subnet);
  return { family: first.family, value: first.value + 1n };
}

export const forwardDrop: Check = {
  name: "forward-drop",
  group: "firewall",
  about: "no other program's forward chain drops pods' packets",
  judge(facts) {
    const { rules, table } = facts;
    if (table === undefined) return [];
    const why = "pods do not reach other nodes' pods, or the outside";
    if (rules.missingAccepts.length > 0) {
      return [
        {
          severity: "error",
          seen: "a forward chain drops what it does not know, and lets no pods through",
          why: `${why}; a weftd that lives puts rules for pods there`,
          run: rules.missingAccepts.map(asCommand).join(" && "),
        },
      ];
    }
    const dropped = ways(facts).flatMap(({ packet, text }) => {
      const { ending } = walk(rules.ruleset, NF_INET_HOOK.forward, packet);
      return isStopped(ending) ? [{ ending, text }] : [];
    });
    return distinct(dropped).map(({ ending, text }) => ({
      severity: "error",
      seen: `packets from ${text} are dropped by ${placeOf(ending)}`,
      why,
      ...remedyOf(ending),
    }));
  },
};

/** From a pod of this node to one of each of two peers and back, and to the outside. */
function ways(facts: Facts): { readonly packet: Packet; readonly text: string }[] {
  const { table, observed, desired } = facts;
  if (table === undefined || desired === undefined) return [];
  const deviceOf = (name: string | undefined) => observed.links.find((link) => link.name === name);
  const pods = facts.attachment.bridge === undefined ? undefined : deviceOf(facts.attachment.bridge);
  return table.node.subnets.flatMap((own) => {
    const inner = podOf(own);
    const outer = table.peers
      .flatMap(({ name, subnets }) => subnets.map((subnet) => ({ name, subnet })))
      .filter(({ subnet }) => subnet.address.family === own.address.family)
      .slice(0, 2);
    return outer.flatMap(({ name, subnet }) => {
      const route = desired.dataPath.routes.find(
        ({ destination }) => formatPrefix(destination) === formatPrefix(subnet),
      );
      const by =
        route === undefined
          ? undefined
          : "device" in route.by
            ? deviceOf(route.by.device)
            : deviceOf(underlayName(facts));
      const there = { source: inner, destination: podOf(subnet), input: pods, output: by };
      const back = { source: podOf(subnet), destination: inner, input: by, output: pods };
      return [
        { packet: { ...there, destinationType: RTN_UNICAST }, text: `this node's pods to ${name}'s` },
        { packet: { ...back, destinationType: RTN_UNICAST }, text: `${name}'s pods to this node's` },
      ];
    });
  });
}

function distinct<T extends { readonly ending: Ending }>(found: readonly T[]): T[] {
  const keyOf = ({ ending }: T) => `${placeText(ending.chain)} ${ending.rule?.handle ?? "policy"}`;
  return found.filter((one, at) => found.findIndex((other) => keyOf(other) === keyOf(one)) === at);
}

export const legacyForward: Check = {
  name: "legacy-forward",
  group: "firewall",
  about: "iptables-legacy's chain FORWARD lets pods through",
  judge({ rules, table }) {
    if (table === undefined) return [];
    return rules.legacy.flatMap(({ family, program, forward }): Finding[] => {
      const why = "pods do not reach other nodes' pods, or the outside";
      const ranges = table.conf.networks.filter(({ address }) => address.family === family).map(formatPrefix);
      if (forward === undefined) {
        const seen = `${program}'s table filter is in use, and there is no ${program} here to look into it`;
        return [{ severity: "note", seen, why: `it may drop: ${why}`, advice: `install ${program}` }];
      }
      const lines = forward.split("\n");
      const drops = lines.some((line) => /^-P FORWARD DROP$/.test(line) || /^-A FORWARD -j (DROP|REJECT)\b/.test(line));
      const missing = ranges.flatMap((range) =>
        ["-s", "-d"]
          .filter(
            (side) =>
              !lines.some((line) => line.startsWith(`-A FORWARD ${side} ${range} `) && line.endsWith("-j ACCEPT")),
          )
          .map((side) => `${program} -I FORWARD ${side} ${range} -j ACCEPT`),
      );
      if (!drops || missing.length === 0) return [];
      return [
        {
          severity: "error",
          seen: `${program}'s chain FORWARD drops what it does not know`,
          why,
          run: missing.join(" && "),
        },
      ];
    });
  },
};

/** What of the rules drops a packet that comes in by the underlay; `accept` is the match of a rule that lets it in. */
export function obstacleTo(
  { rules, observed, ...facts }: Facts,
  packet: Incoming,
  accept: string,
): Obstacle | undefined {
  const input = observed.links.find(({ name }) => name === underlayName({ observed, ...facts }));
  for (const hook of [NF_INET_HOOK.prerouting, NF_INET_HOOK.input]) {
    const { ending } = walk(rules.ruleset, hook, { ...packet, destinationType: RTN_LOCAL, input });
    if (isStopped(ending)) return { place: placeOf(ending), remedy: acceptInput(ending, accept) };
  }
  return undefined;
}

function acceptInput(ending: Ending, accept: string): Obstacle["remedy"] {
  if (ending.rule !== undefined) return remedyOf(ending);
  const command = `nft insert rule ${placeText(ending.chain)} ${accept} accept`;
  return { run: command, advice: "and tell the firewall that made the chain, or it is gone with its next reload" };
}

/** "the rule (handle 7) of ip filter FORWARD", or its policy. */
export function placeOf({ chain, rule }: Ending): string {
  const place = placeText(chain);
  return rule === undefined ? `the policy of ${place}` : `a rule of ${place} (handle ${rule.handle})`;
}

function remedyOf({ chain, rule }: Ending): Pick<Finding, "run" | "advice"> {
  const advice = "and tell the program that made it, or it comes back";
  if (rule === undefined) return { run: `nft chain ${placeText(chain)} '{ policy accept; }'`, advice };
  return { run: `nft delete rule ${placeText(chain)} handle ${rule.handle}`, advice };
}

/** nft's own notation has characters that mean something to a shell. */
function asCommand(text: string): string {
  return text.startsWith("nft ") ? `nft '${text.slice("nft ".length)}'` : text;
}

/** Chains of other networks' names. */
const LEFT_CHAIN = /^(FLANNEL-|cali[-_]|CILIUM_|OLD_CILIUM_|KUBE-ROUTER|WEAVE)/;
const LEFT_TABLE = /^(flannel-ipv[46]|cilium|kube-router|calico)/;

export const leftChains: Check = {
  name: "left-chains",
  group: "other programs",
  about: "no rules of another network plugin are left",
  judge({ rules }) {
    const { chains, ruleset } = rules;
    const tables = new Map(chains.filter(({ table }) => LEFT_TABLE.test(table)).map((one) => [tableText(one), one]));
    const left = chains.filter((chain) => LEFT_CHAIN.test(chain.chain) && !tables.has(tableText(chain)));
    const byTable = new Map<string, ChainPlace[]>();
    for (const chain of left) byTable.set(tableText(chain), [...(byTable.get(tableText(chain)) ?? []), chain]);
    const why = "they treat pods' packets as their network would: some are masqueraded, marked or dropped";
    return [
      ...[...tables.keys()].map(
        (text): Finding => ({
          severity: "warning",
          seen: `the table ${text} is another network plugin's`,
          why,
          run: `nft delete table ${text}`,
          advice: "if that plugin no longer runs here",
        }),
      ),
      ...[...byTable].map(([text, places]): Finding => {
        const names = places.map(({ chain }) => chain);
        return {
          severity: "warning",
          seen: `${text} has chains of another network plugin: ${names.slice(0, 5).join(", ")}${names.length > 5 ? `, and ${names.length - 5} more` : ""}`,
          why,
          run: `nft '${removal(ruleset, chains, places).join("; ")}'`,
          advice: "if that plugin no longer runs here",
        };
      }),
    ];
  },
};

/** First what leads there from chains that stay, then what is in them, then they themselves. */
function removal(ruleset: Ruleset, all: readonly ChainPlace[], places: readonly ChainPlace[]): string[] {
  const [first] = places;
  const names = new Set(places.map(({ chain }) => chain));
  const leads = (rule: NftRule) => names.has(verdictOf(rule)?.chain ?? "");
  const others = all.filter(
    ({ family, table, chain }) => family === first?.family && table === first.table && !names.has(chain),
  );
  return [
    ...others
      .flatMap((chain) => ruleset.rulesOf(chain).filter(leads))
      .map((rule) => `delete rule ${placeText(rule)} handle ${rule.handle}`),
    ...places.map((chain) => `flush chain ${placeText(chain)}`),
    ...places.map((chain) => `delete chain ${placeText(chain)}`),
  ];
}

function tableText({ family, table }: ChainPlace): string {
  const name = Object.entries(NFPROTO).find(([, number]) => number === family)?.[0] ?? String(family);
  return `${name} ${table}`;
}
