/**
 * Compares the frontends of recorded objects with the ruleset of kube-proxy 1.36 for the same objects: on n1, which has
 * some of the endpoints, and on n3, which has none.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { addresses, formatFrontend, nodeFacts } from "../../test/services/core-bed.ts";
import { type KubeObject, keyOf } from "../cluster/resource.ts";
import { ENDPOINT_SLICE_PARSER } from "../cluster/service/endpoint-slice.ts";
import { SERVICE_PARSER } from "../cluster/service/service.ts";
import { ServiceMap } from "./service-map.ts";

const FOLDER = new URL("../../test/vectors/kube-proxy/", import.meta.url);
const readVector = (name: string) => readFileSync(new URL(name, FOLDER), "utf8");

const NAMESPACE = "rec";

/** Formats kube-proxy's rules as `formatFrontend` does, without kinds and without marking local endpoints. */
function recordedFrontends(rules: string, nodeAddress: string): string[] {
  const chains = new Map([...rules.matchAll(/^\tchain (\S+) \{\n(.*?)^\t\}/gms)].map(([, name, body]) => [name, body]));
  const bodyOf = (name = "") => chains.get(name) ?? "";
  const endpointsOf = (name = ""): string => {
    const listed = [...bodyOf(name).matchAll(/\d+ : ([\d.]+) \. (\d+)/g)].map(
      ([, address, port]) => `${address}:${port}`,
    );
    const sticky = [...bodyOf(name).matchAll(/\d+ : goto endpoint-\S+__([\d.]+)\/(\d+)/g)].map(
      ([, a, p]) => `${a}:${p}`,
    );
    return [...listed, ...sticky].join(", ") || "-";
  };
  const gotoOf = (name: string, words: string) => new RegExp(`^\\t\\t${words}goto (\\S+)`, "m").exec(bodyOf(name))?.[1];
  const elementsOf = (map: string) => {
    const elements = new RegExp(`^\\tmap ${map} \\{.*?^\\t\\}`, "ms").exec(rules)?.[0] ?? "";
    const found = elements.matchAll(/((?:[\d.]+ \. )?)(tcp|udp) \. (\d+)((?: comment "\S+")?) : (?:goto )?(\S+?)[, ]/g);
    return [...found].flatMap(([, address = "", protocol = "", port = "", comment = "", verdict = ""]) => {
      if (![comment, verdict].some((text) => text.includes(`${NAMESPACE}/`))) return [];
      const host = address.split(" ")[0] || nodeAddress;
      return [{ key: `${host}:${port}/${protocol.toUpperCase()}`, verdict }];
    });
  };
  const without = [...elementsOf("no-endpoint-services"), ...elementsOf("no-endpoint-nodeports")];
  const verdictOf = (key: string) => without.find((one) => one.key === key)?.verdict.replace("reject-chain", "reject");
  const sourcesOf = (key: string) => {
    const firewall = elementsOf("firewall-ips").find((one) => one.key === key)?.verdict;
    return firewall === undefined ? undefined : /saddr != (\S+) drop/.exec(bodyOf(firewall))?.[1];
  };
  const led = [...elementsOf("service-ips"), ...elementsOf("service-nodeports")].map(({ key, verdict: chain }) => {
    const inside = gotoOf(chain, "fib saddr type local ");
    const parts = inside
      ? [`local -> ${endpointsOf(inside)} | ${endpointsOf(gotoOf(chain, ""))}`]
      : [`${gotoOf(chain, "") ? "cluster" : "internal"} -> ${endpointsOf(gotoOf(chain, "") ?? chain)}`];
    const affinity = bodyOf(gotoOf(chain, "") ?? chain).includes("affinity-") ? "sticky" : "";
    return [key, ...parts, verdictOf(key), sourcesOf(key) && `from ${sourcesOf(key)}`, affinity]
      .filter(Boolean)
      .join(" ");
  });
  const isLed = (key: string) => led.some((text) => text.startsWith(`${key} `));
  const others = without.filter(({ key }) => !isLed(key)).map(({ key }) => `${key} ${verdictOf(key)}`);
  return [...led, ...others].sort();
}

function ownFrontends(node: string, nodeAddress: string): string[] {
  const map = new ServiceMap();
  const [address] = addresses(nodeAddress);
  if (address === undefined) throw new Error("no address");
  map.setNode(nodeFacts({ name: node, zone: undefined, addresses: [address], nodePortAddresses: [address] }));
  const { items } = JSON.parse(readVector("objects.json")) as { items: (KubeObject & { kind: string })[] };
  for (const item of items) {
    const { namespace, name } = item.metadata;
    const slice = item.kind === "EndpointSlice" ? ENDPOINT_SLICE_PARSER.parse(item) : undefined;
    if (slice !== undefined) map.setSlices(slice.service, [slice]);
    else map.setService(keyOf(namespace, name), SERVICE_PARSER.parse(item));
  }
  return [...map.frontends()]
    .map((frontend) => {
      const text = formatFrontend(frontend).replace(`${frontend.kind} `, "").replaceAll("*", "");
      if (frontend.endpoints.length === 0) return `${text.split(" ")[0]} ${frontend.withoutEndpoint}`;
      return text.replace(/ sticky .*/, " sticky");
    })
    .sort();
}

test.each([
  ["n1", "10.240.0.11"],
  ["n3", "10.240.1.13"],
])("on %s, frontends equal kube-proxy's", (node, address) => {
  const recorded = recordedFrontends(readVector(`${node}-ip.nft`), address);
  expect(recorded).toHaveLength(16);
  expect(ownFrontends(node, address)).toEqual(recorded);
});
