/** A node as the `weft` command sees it: weftd's answer at /debug/services, and nf_tables with the mode's objects. */

import { runCommand } from "../../command/main.ts";
import { servicesPage } from "../../daemon/controllers/services/services-page.ts";
import { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { answered } from "../../pkg/netlink/look.ts";
import { NETLINK_NETFILTER } from "../../pkg/netlink/message.ts";
import { readRuleset } from "../../pkg/netlink/ruleset.ts";
import { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import type { NodeSettings } from "../../pkg/services/frontend.ts";
import { NftablesMode } from "../../pkg/services/nftables/nftables-mode.ts";
import type { NodeFacts } from "../../pkg/services/node-facts.ts";
import type { ServiceMap } from "../../pkg/services/service-map.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";

const BUILD = { version: "1.2.3", id: "0123456789abcdef", commit: "", pluginNames: [] };
const METRICS_PORT = 9468;
const PORT = 1;

export interface CommandNode {
  readonly map: ServiceMap;
  readonly node: NodeFacts;
  readonly settings: NodeSettings;
}

export const IN_SYNC = {
  ...{ mode: "nftables", isOurs: true, isSynced: true, warnings: [], doubts: [] },
  lastSync: { kind: "change", agoMs: 2000, durationMs: 0.4 },
};

/** Programs the frontends of `map`, as weftd does. */
export function program({ map, settings }: Pick<CommandNode, "map" | "settings">, nftables = new FakeNftables()) {
  const system = new FakeSystem({ netlink: (datagram) => nftables.answer(datagram, PORT) });
  const netlink = new BlockingNetlink(system.openNetlink(NETLINK_NETFILTER), "the fake");
  const look = new NftablesMode().compare(map.frontends(), settings);
  for (const transaction of answered(look, (questions) => readRuleset(netlink, questions))) netlink.commit(transaction);
  netlink.close();
  return nftables;
}

/** An HTTP server on weftd's port. */
export function weftdSaying(body: (query: URLSearchParams) => object, state = 200) {
  const server = () => (data: Uint8Array) => {
    const [, target = ""] = new TextDecoder().decode(data).split(" ");
    const text = JSON.stringify(body(new URL(target, "http://weftd").searchParams));
    const head = `HTTP/1.1 ${state} OK\r\nContent-Type: application/json\r\n\r\n`;
    return [new TextEncoder().encode(head + text), new Uint8Array()];
  };
  return { [METRICS_PORT]: server };
}

/** weftd's answer about the node. */
export function pageOf({ map, node, settings }: CommandNode, state: object = IN_SYNC) {
  const { services, endpoints } = map.counts();
  const counts = { services, frontends: map.frontendCount, endpoints };
  return (query: URLSearchParams): object =>
    JSON.parse([...servicesPage({ map, node, settings, state: { ...IN_SYNC, ...state, counts } }, query)].join(""));
}

/** Runs `weft` with these words. */
export function weft(words: string, options: ConstructorParameters<typeof FakeSystem>[0]) {
  const system = new FakeSystem({ args: ["/opt/cni/bin/weft", ...words.split(" ")], ...options });
  const status = runCommand(system, BUILD);
  return { status, output: system.output, errorOutput: system.errorOutput };
}
