/**
 * The state of a namespace to observe after each step, and its parser. Objects are keyed by name, so that differences
 * have names.
 */

import type { LabelledDevice } from "./labels.ts";

type Json = Record<string, unknown>;

/**
 * First waits until the state is stable: a new IPv6 address is tentative until its device is ready, and gets its local
 * route a moment later. A device without carrier is never ready (a tap that no program has opened); a bridge gets its
 * carrier when its port is ready. A device with LOWER_UP and still NO-CARRIER will be ready soon. tc prints the queues
 * of a device with several (mq) only as text; these are omitted.
 */
export const OBSERVE = `
unsettled() {
	awk 'NF == 10 && $2 == "80" { routed[$1] } NF == 6 && ($5 ~ /^[4-7c-f]/ || !($1 in routed)) { all = all "|" $6 }
		END { print substr(all, 2) }' /proc/net/ipv6_route /proc/net/if_inet6
}
changing() { ip -o link show | grep -qE "NO-CARRIER.*LOWER_UP|^[0-9]+: ($1)[:@].*LOWER_UP"; }
n=0
while devices=$(unsettled); [ -n "$devices" ] && [ $n -lt 100 ] && changing "$devices"; do
	sleep 0.02
	n=$((n + 1))
done
answer() { printf '\\n=%s\\n' "$1"; }
answer links,routes
ip -j -d -batch - <<END
link show
route show table all
END
answer addresses,rules
ip -j -batch - <<END
address show
rule show
END
answer rules6; ip -6 -j rule show
answer ports; bridge -j -d link show
answer vlans; bridge -j vlan show
qdiscs=$(tc -j qdisc show)
answer qdiscs; printf '%s\\n' "$qdiscs"
case $qdiscs in *'"kind":"'[!n]* | *'"kind":"n'[!o]*)
	for dev in $(tc qdisc show | sed -n '/noqueue/!s/.* dev \\([^ ]*\\) .*/\\1/p' | sort -u); do
		answer "classes $dev"; tc -j class show dev $dev | grep '^\\['
		answer "filters $dev"; tc -j filter show dev $dev
		answer "ingress $dev"; tc -j filter show dev $dev ingress
	done ;;
esac
answer sysctls
for path in /proc/sys/net/ipv[46]/*; do [ "\${path##*/}" = neigh ] || set -- "$@" "$path"; done
exec grep -rs . "$@"
`;

/**
 * Every entry below the folders that plugins write to: a line "MODE PATH" each; then "=PATH" and the lines of each
 * file.
 */
export const OBSERVE_FILES = `
below() { find /var/lib/cni /run/cni -mindepth 1 "$@"; }
below -exec stat -c '%A %n' {} +
below -type f -exec awk 'FNR == 1 { print "=" FILENAME } { print "  " $0 }' {} +
`;

/** Numbers of devices depend on the order of creation; the other values settle a moment after the call. */
const PASSING = new Set([
  ...["ifindex", "link_index", "link_netnsid", "operstate", "state", "num_tx_queues", "num_rx_queues"],
  ...["valid_life_time", "preferred_life_time", "expires", "root_id", "bridge_id", "designated_bridge", "refcnt"],
]);
const PASSING_FLAGS = new Set(["LOWER_UP", "NO-CARRIER", "linkdown", "dead"]);
/**
 * Link-local addresses, their routes and multicast: they appear when a device is ready, if its settings enable them.
 */
const LINK_LOCAL = /^(fe80:|ff00:|multicast)/;

/** Each answer by its name. Several names, joined by commas, are for as many lines. */
function answersIn(text: string): ReadonlyMap<string, string> {
  return new Map(
    text
      .split("\n=")
      .slice(1)
      .flatMap((part): (readonly [string, string])[] => {
        const head = part.slice(0, part.indexOf("\n"));
        const body = part.slice(part.indexOf("\n") + 1).trim();
        const names = head.split(",");
        if (names.length === 1) return [[head, body]];
        const lines = body.split("\n");
        if (lines.length !== names.length) throw new Error(`expected a line for each of ${head}:\n${body}`);
        return names.map((name, at) => [name, lines[at] ?? ""]);
      }),
  );
}

export function readDevices(text: string): LabelledDevice[] {
  const links = JSON.parse(answersIn(text).get("links") || "[]") as { ifname: string; address?: string }[];
  return links.flatMap(({ ifname, address }) => (address === undefined ? [] : [{ name: ifname, address }]));
}

export function readKernel(text: string): Json {
  const answers = answersIn(text);
  const list = (name: string) =>
    (JSON.parse(answers.get(name) || "[]") as Json[]).map((entry) => lasting(entry) as Json).filter(isEntry);
  const traffic: Json = {};
  for (const name of answers.keys()) if (/^(classes|filters|ingress) /.test(name)) traffic[name] = list(name);
  return {
    links: byName(list("links"), ({ ifname }) => String(ifname)),
    addresses: Object.fromEntries(
      list("addresses").map(({ ifname, addr_info }) => [
        ifname,
        byName(
          (addr_info as Json[]).filter(({ local }) => !LINK_LOCAL.test(String(local))),
          ({ local, prefixlen }) => `${local}/${prefixlen}`,
        ),
      ]),
    ),
    routes: byName(
      list("routes").filter(({ dst, type }) => !LINK_LOCAL.test(String(dst)) && type !== "multicast"),
      ({ type, dst, dev, gateway, table, metric }) =>
        [type, dst, gateway && `via ${gateway}`, dev && `dev ${dev}`, table && `table ${table}`, metric]
          .filter(Boolean)
          .join(" "),
    ),
    rules: byName([...list("rules"), ...list("rules6").map((rule) => ({ ...rule, family: "inet6" }))], (rule) =>
      JSON.stringify(rule),
    ),
    ports: byName(list("ports"), ({ ifname }) => String(ifname)),
    vlans: byName(list("vlans"), ({ ifname }) => String(ifname)),
    qdiscs: byName(
      list("qdiscs").filter(({ kind }) => kind !== "noqueue"),
      ({ dev, kind, handle }) => `${dev} ${kind} ${handle}`,
    ),
    traffic,
    sysctls: Object.fromEntries(
      (answers.get("sysctls") ?? "")
        .split("\n")
        .map((line) => line.replace("/proc/sys/net/", ""))
        .filter((line) => line !== "")
        .map((line) => [line.slice(0, line.indexOf(":")).replaceAll("/", "."), line.slice(line.indexOf(":") + 1)]),
    ),
  };
}

/** Each entry by its path: its mode and, for a file, its lines. */
export function readFiles(text: string): Json {
  const contents = new Map(
    [...text.matchAll(/^=(\/.*)\n((?: {2}.*\n)*)/gm)].map(([, path = "", lines = ""]) => [path, lines.trim()]),
  );
  const entries = [...text.matchAll(/^(\S{10}) (\/.*)$/gm)].map(([, mode, path = ""]) => ({ mode, path }));
  entries.sort((one, other) => (one.path < other.path ? -1 : 1));
  return Object.fromEntries(
    entries.map(({ mode, path }) => [path.replaceAll("/", ":"), { mode, lines: contents.get(path) ?? "" }]),
  );
}

/** bridge(8) and tc(8) print empty objects for omitted values. */
const isEntry = (entry: Json) => Object.keys(entry).length > 0;

function lasting(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, inner) => {
      if (PASSING.has(key) || key.endsWith("_timer")) return undefined;
      return key === "flags" && Array.isArray(inner) ? inner.filter((flag) => !PASSING_FLAGS.has(flag)) : inner;
    }),
  );
}

function byName(entries: readonly Json[], nameOf: (entry: Json) => string): Json {
  const named: Json = {};
  for (const entry of entries) {
    const name = nameOf(entry);
    let free = name;
    for (let count = 2; free in named; count++) free = `${name} (${count})`;
    named[free] = entry;
  }
  return named;
}
