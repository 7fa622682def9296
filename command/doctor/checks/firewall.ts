/** Checks of rules: the node's own, and rules of other programs that drop pods' packets. */

import type { Finding, Incoming, Obstacle } from "../../../pkg/backend/inspection.ts";
import { POLICY_TABLE, SENDERS_TABLE } from "../../../pkg/footprint.ts";
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
  about: "weftd's table inet weft masquerades pods' packets to addresses outside the cluster",
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
          seen: `no rule masquerades packets from pods of ${formatPrefix(subnet)} to addresses outside the cluster`,
          why: "hosts outside the cluster see pods' addresses, and cannot send replies to them",
          advice:
            "restart weftd, which creates its table inet weft again (ignore this if --non-masquerade-cidrs covers all addresses)",
        },
      ];
    });
  },
};

/** Addresses for documentation (RFC 5737, RFC 3849), which no host has. */
const OUTSIDE = { 4: parseAddress("198.51.100.1"), 6: parseAddress("2001:db8:ffff::1") } as const;

/** The second host of the subnet. The first is the gateway. */
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
    const why = "pods cannot reach other nodes' pods, or addresses outside the cluster";
    if (rules.missingAccepts.length > 0) {
      return [
        {
          severity: "error",
          seen: "a forward chain drops unknown packets, and has no rule that accepts pods' packets",
          why: `${why}; a running weftd adds rules for pods to the chain`,
          run: rules.missingAccepts.map(asCommand).join(" && "),
        },
      ];
    }
    const dropped = ways(facts).flatMap(({ packet, text }) => {
      const { ending } = walk(withoutPolicies(rules.ruleset), NF_INET_HOOK.forward, packet);
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

/** Policies may deny packets of the pods that have the addresses examined here. */
function withoutPolicies(ruleset: Ruleset): Ruleset {
  const isPolicy = ({ table }: ChainPlace) => table === POLICY_TABLE || table === SENDERS_TABLE;
  return {
    ...ruleset,
    bases: ruleset.bases.filter((base) => !isPolicy(base)),
  };
}

/** Packets from a pod of this node to a pod of each of two peers, and back. */
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
  about: "iptables-legacy's chain FORWARD accepts pods' packets",
  judge({ rules, table }) {
    if (table === undefined) return [];
    return rules.legacy.flatMap(({ family, program, forward }): Finding[] => {
      const why = "pods cannot reach other nodes' pods, or addresses outside the cluster";
      const ranges = table.conf.networks.filter(({ address }) => address.family === family).map(formatPrefix);
      if (forward === undefined) {
        const seen = `${program}'s table filter is in use, but ${program} is not installed, so its rules cannot be read`;
        return [
          { severity: "note", seen, why: `if its rules drop pods' packets, ${why}`, advice: `install ${program}` },
        ];
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
          seen: `${program}'s chain FORWARD drops unknown packets, and does not accept all pods' packets`,
          why,
          run: missing.join(" && "),
        },
      ];
    });
  },
};

/**
 * Returns the rule or policy that drops a packet which arrives from the underlay. `accept` is the match of a rule that
 * accepts the packet.
 */
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
  return {
    run: command,
    advice: "add the rule to the configuration of the firewall, which removes it at its next reload otherwise",
  };
}

/** Describes the place that ends a packet: "a rule of ip filter FORWARD (handle 7)", or the chain's policy. */
export function placeOf({ chain, rule }: Ending): string {
  const place = placeText(chain);
  return rule === undefined ? `the policy of ${place}` : `a rule of ${place} (handle ${rule.handle})`;
}

function remedyOf({ chain, rule }: Ending): Pick<Finding, "run" | "advice"> {
  const advice = "remove it from the configuration of the program that created it, or it returns";
  if (rule === undefined) return { run: `nft chain ${placeText(chain)} '{ policy accept; }'`, advice };
  return { run: `nft delete rule ${placeText(chain)} handle ${rule.handle}`, advice };
}

/** Quotes an nft command: nft's notation has characters that are special to a shell. */
function asCommand(text: string): string {
  return text.startsWith("nft ") ? `nft '${text.slice("nft ".length)}'` : text;
}

/** Names of chains that other network plugins create. */
const LEFT_CHAIN = /^(FLANNEL-|cali[-_]|CILIUM_|OLD_CILIUM_|KUBE-ROUTER|WEAVE)/;
const LEFT_TABLE = /^(flannel-ipv[46]|cilium|kube-router|calico)/;

export const leftChains: Check = {
  name: "left-chains",
  group: "other programs",
  about: "no rules of other network plugins are left",
  judge({ rules }) {
    const { chains, ruleset } = rules;
    const tables = new Map(chains.filter(({ table }) => LEFT_TABLE.test(table)).map((one) => [tableText(one), one]));
    const left = chains.filter((chain) => LEFT_CHAIN.test(chain.chain) && !tables.has(tableText(chain)));
    const byTable = new Map<string, ChainPlace[]>();
    for (const chain of left) byTable.set(tableText(chain), [...(byTable.get(tableText(chain)) ?? []), chain]);
    const why = "the rules may masquerade, mark or drop pods' packets";
    return [
      ...[...tables.keys()].map(
        (text): Finding => ({
          severity: "warning",
          seen: `the table ${text} belongs to another network plugin`,
          why,
          run: `nft delete table ${text}`,
          advice: "only if that plugin no longer runs on this node",
        }),
      ),
      ...[...byTable].map(([text, places]): Finding => {
        const names = places.map(({ chain }) => chain);
        return {
          severity: "warning",
          seen: `${text} contains chains of another network plugin: ${names.slice(0, 5).join(", ")}${names.length > 5 ? `, and ${names.length - 5} more` : ""}`,
          why,
          run: `nft '${removal(ruleset, chains, places).join("; ")}'`,
          advice: "only if that plugin no longer runs on this node",
        };
      }),
    ];
  },
};

/** Deletes rules of remaining chains that jump to `places`, then the rules in `places`, then the chains. */
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
