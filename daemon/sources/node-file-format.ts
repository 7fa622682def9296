/**
 * The file format for nodes on hosts without Kubernetes. YAML 1.2, and therefore also JSON:
 *
 *     nodes:
 *       - name: n1
 *         podCIDRs: [10.244.1.0/24]
 *         addresses: [192.0.2.1]
 *         backend: vxlan              # or another one; if absent, the backend of the reader's net-conf.json
 *
 * Entries may also have keys of backends, such as vxlan's `vtepMAC: 0a:00:00:00:00:01`.
 * The file may also contain Services: `service-file-format.ts`.
 * Pure. Nothing is ignored: a file is entirely valid, or an error names each mistake with its line.
 */
import { BACKENDS, backendNamed } from "../../pkg/backend/backends.ts";
import type { Backend } from "../../pkg/backend/contract.ts";
import { type NetConf, settingsOf } from "../../pkg/backend/net-conf.ts";
import type { ClusterNode } from "../../pkg/cluster/node/node.ts";
import { type Address, type Family, parseAddress } from "../../pkg/ip/address.ts";
import { type Prefix, parseSubnet } from "../../pkg/ip/prefix.ts";
import { type FileServices, readServices, SERVICE_KEYS } from "./service-file-format.ts";
import { offsetOf, type Reader, readYaml } from "./yaml-reader.ts";

/** The backends' keys for a node, with their parsers. */
const FILE_KEYS = Object.assign(
  {},
  ...BACKENDS.map(({ announcement }) => announcement.fileKeys),
) as Backend["announcement"]["fileKeys"];
const KEYS = ["name", "podCIDRs", "addresses", "backend", ...Object.keys(FILE_KEYS)];

type Conf = Pick<NetConf, "backend" | "others">;

/** The content of the file. */
export interface NodeFile extends FileServices {
  readonly nodes: readonly ClusterNode[];
}

/**
 * `conf` is this node's configuration: a node without a stated backend has this node's backend. Throws `NodeFileError`.
 */
export function parseNodeFile(text: string, conf: Conf): NodeFile {
  return readYaml(text, ["nodes", ...SERVICE_KEYS], (reader, top) => {
    const entries = reader.list(top.get("nodes", true), "nodes", top);
    const nodes = entries.map((entry, at) => readNode(reader, entry, `nodes[${at}]`, conf));
    const seen = new Set<string>();
    nodes.forEach((node, at) => {
      if (node !== undefined && seen.has(node.name))
        reader.mistake(offsetOf(entries[at]), `nodes[${at}].name`, `${node.name} is defined twice`);
      seen.add(node?.name ?? "");
    });
    const read = nodes.flatMap((node) => node ?? []);
    return { nodes: read, ...readServices(reader, top, read) };
  });
}

function readNode(reader: Reader, entry: unknown, field: string, conf: Conf): ClusterNode | undefined {
  const map = reader.map(entry, field, KEYS);
  if (map === undefined) return undefined;
  const at = (key: string) => `${field}.${key}`;
  const name = reader.text(map.get("name", true), at("name"), map) ?? "";
  const podCidrs = reader.each(map.get("podCIDRs", true), at("podCIDRs"), map, (text): Prefix => parseSubnet(text));
  const addresses = reader.each(
    map.get("addresses", true),
    at("addresses"),
    map,
    (text): Address => parseAddress(text),
  );
  const own = conf.backend.type;
  const type = (map.has("backend") ? reader.text(map.get("backend", true), at("backend"), map) : own) ?? own;
  const backend = backendNamed(type);
  if (backend === undefined) {
    const names = BACKENDS.map((one) => one.name).join(" nor ");
    reader.mistake(offsetOf(map.get("backend", true)), at("backend"), `${type} is neither ${names}`);
  }
  const stated = Object.entries(FILE_KEYS).flatMap(([key, parse]) => {
    const value = map.has(key) ? reader.value(map.get(key, true), at(key), map, parse) : undefined;
    return value === undefined ? [] : [[key, value] as const];
  });
  const first = (family: Family) => addresses.find((address) => address.family === family);
  const [publicIp, publicIpv6] = [first(4), first(6)];
  const families = ([4, 6] as const).filter((family) => first(family) !== undefined);
  const settings = backend === undefined ? undefined : settingsOf(conf, backend);
  const said = settings && backend?.announcement.announceFor(settings, { name, families, stated: new Map(stated) });
  return {
    ...{ name, uid: "", managed: true, backend: { type, ...said }, podCidrs, internalAddresses: addresses },
    ...(publicIp && { publicIp }),
    ...(publicIpv6 && { publicIpv6 }),
    ...{ hasRefusedClaim: false, problems: [] },
  };
}
