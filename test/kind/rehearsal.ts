/** A simulated cluster: it answers as a healthy one, for `--dry-run` and for tests. Pure. */
import type { Answer } from "./questions.ts";

const NODES = ["weft-control-plane", "weft-worker", "weft-worker2"];
const ADDRESSES = NODES.map((_, at) => [`172.18.0.${at + 2}`, `fc00:f853:ccd:e793::${at + 2}`]);
const PODS = NODES.flatMap((node, at) =>
  ["first", "second"].map((set, index) => ({
    name: `${set}-${at}`,
    node,
    hasHostPort: set === "first",
    addresses: [`10.244.${at + 1}.${index + 2}`, `fd00:10:244:${at + 1}::${index + 2}`],
  })),
);
const SERVICE = ["10.96.0.80", "fd00:10:96::80"];

/** The output of the command `words`, after the commands `earlier`. */
export function imagine(words: readonly string[], earlier: readonly (readonly string[])[]): string {
  const line = words.join(" ");
  const said = earlier.map((one) => one.join(" "));
  const families = said.some((one) => /cluster-dual(-services)?\.yaml/.test(one)) ? 2 : 1;
  const overlay = said.findLast((one) => /\/(overlays|kind\/services)\//.test(one))?.replace(/.*\//, "");
  if (line.includes("get nodes")) return items(NODES.map((name, at) => nodeObject(name, at, families)));
  if (line.includes("get pods")) return items(PODS.map((pod) => podObject(pod, families)));
  if (line.includes("get service")) return JSON.stringify({ spec: { clusterIPs: SERVICE.slice(0, families) } });
  if (line.includes(" route show "))
    return JSON.stringify(routes(words[2] ?? "", words.includes("-6") ? 1 : 0, overlay === "vxlan"));
  const urls = words.filter((word) => word.startsWith("http://"));
  if (line.includes("/scripts/ask.mjs")) {
    const asker = words[words.indexOf("exec") + 1] ?? "";
    return JSON.stringify(Object.fromEntries(urls.map((url) => [url, answer(url, asker)])));
  }
  return line.includes(" curl ") ? urls.map((url) => `${url} ${JSON.stringify(answer(url, ""))}\n`).join("") : "";
}

const items = (objects: readonly object[]) => JSON.stringify({ items: objects });

const nodeObject = (name: string, at: number, families: number) => ({
  metadata: { name },
  spec: { podCIDRs: subnetsOf(at).slice(0, families) },
  status: { addresses: ADDRESSES[at]?.slice(0, families).map((address) => ({ type: "InternalIP", address })) },
});

const podObject = ({ name, node, hasHostPort, addresses }: (typeof PODS)[number], families: number) => ({
  metadata: { name },
  spec: { nodeName: node, containers: [{ ports: [hasHostPort ? { hostPort: 18080 } : {}] }] },
  status: { podIPs: addresses.slice(0, families).map((ip) => ({ ip })) },
});

function routes(asker: string, family: 0 | 1, isEncapsulated: boolean): object[] {
  return NODES.flatMap((node, at) =>
    node === asker
      ? []
      : [{ dst: subnetsOf(at)[family], gateway: ADDRESSES[at]?.[family], dev: isEncapsulated ? "flannel.1" : "eth0" }],
  );
}

const subnetsOf = (at: number) => [`10.244.${at + 1}.0/24`, `fd00:10:244:${at + 1}::/64`];

function answer(url: string, asker: string): Answer {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
  const at = ADDRESSES.findIndex((addresses) => addresses.includes(host));
  const asked = PODS.find(({ addresses, node, hasHostPort }) =>
    at >= 0 ? hasHostPort && node === NODES[at] : addresses.includes(host),
  );
  const own = PODS.find(({ name }) => name === asker)?.addresses ?? [];
  return {
    pod: (asked ?? PODS[0])?.name ?? "",
    client: own.find((one) => one.includes(":") === host.includes(":")) ?? "",
  };
}
