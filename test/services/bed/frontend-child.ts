/**
 * Runs inside a node's namespace: programs frontends given as text, one JSON object a line, by a mode that lives as
 * long as the process. Answers each with the number of requests of each transaction.
 */
import { createInterface } from "node:readline";
import { answeredBy } from "../../../daemon/core/drivers/ruleset.ts";
import { SYSTEM_CLOCK } from "../../../pkg/cluster/clock.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { parsePrefix } from "../../../pkg/ip/prefix.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { NETLINK_NETFILTER } from "../../../pkg/netlink/message.ts";
import { type Endpoint, type Frontend, type FrontendChange, frontendKey } from "../../../pkg/services/frontend.ts";
import { NftablesMode } from "../../../pkg/services/nftables/nftables-mode.ts";
import { openEventNetlink } from "../../../pkg/sys/node-netlink.ts";

export interface FrontendText
  extends Pick<Frontend, "kind" | "protocol" | "port" | "policy" | "withoutEndpoint" | "affinity"> {
  readonly address: string;
  /** "address:port" of one family. Those in `localEndpoints` are on this node. */
  readonly endpoints: readonly string[];
  readonly localEndpoints: readonly string[];
  readonly allowedSources: readonly string[] | undefined;
}

/**
 * `compare`: like a weftd at its start. `change`: like a running weftd that applies the differences from the previous
 * list.
 */
export interface FrontendOrder {
  readonly do: "compare" | "change";
  readonly localPods: readonly string[];
  readonly serviceRanges: readonly string[];
  readonly frontends: readonly FrontendText[];
}

const netlink = new EventedNetlink(openEventNetlink(NETLINK_NETFILTER), "the node", SYSTEM_CLOCK);
let mode = new NftablesMode();
let before = new Map<string, Frontend>();

function read({ localPods, frontends }: FrontendOrder): Map<string, Frontend> {
  const isLocal = (text: string) => localPods.some((start) => text.startsWith(start.replace(/[^.:]*\/.*$/, "")));
  const endpoint = (text: string): Endpoint => {
    const [, address = "", port = ""] = /^\[?(.*?)\]?:(\d+)$/.exec(text) ?? [];
    return { address: parseAddress(address), port: Number(port), isLocal: isLocal(address) };
  };
  const all = frontends.map(
    ({ address, endpoints, localEndpoints, allowedSources, ...rest }): Frontend => ({
      ...{
        ...rest,
        service: "default/web",
        portName: "",
        affinity: rest.affinity,
        withoutEndpoint: rest.withoutEndpoint,
      },
      ...{ address: parseAddress(address), allowedSources: allowedSources?.map(parsePrefix) },
      ...{ endpoints: endpoints.map(endpoint), localEndpoints: localEndpoints.map(endpoint) },
    }),
  );
  return new Map(all.map((frontend) => [frontendKey(frontend), frontend]));
}

async function carryOut(order: FrontendOrder): Promise<number[]> {
  const after = read(order);
  const keys = new Set([...before.keys(), ...after.keys()]);
  const changes = [...keys].map((key): FrontendChange => ({ before: before.get(key), after: after.get(key) }));
  if (order.do === "compare") mode = new NftablesMode();
  const settings = {
    ...{ localPods: order.localPods.map(parsePrefix), serviceRanges: order.serviceRanges.map(parsePrefix) },
    ...{ masqueradeAll: false, masqueradeBit: 14 },
  };
  const transactions =
    order.do === "change" ? mode.change(changes) : await answeredBy(netlink, mode.compare(after.values(), settings));
  before = after;
  for (const transaction of transactions) await netlink.commit(transaction);
  return transactions.map(({ length }) => length);
}

let last: Promise<unknown> = Promise.resolve();
createInterface({ input: process.stdin })
  .on("line", (line) => {
    last = last
      .then(() => carryOut(JSON.parse(line) as FrontendOrder))
      .then(
        (value) => console.log(JSON.stringify({ value })),
        (error: Error) => console.log(JSON.stringify({ error: error.stack ?? String(error) })),
      );
  })
  .on("close", () => process.exit(0));
