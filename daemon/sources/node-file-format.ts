/**
 * Nodes as a file, for hosts without Kubernetes. YAML 1.2, and so JSON, too:
 *
 *     nodes:
 *       - name: n1
 *         podCIDRs: [10.244.1.0/24]
 *         addresses: [192.0.2.1]
 *         backend: vxlan              # or another one; where it is left out, as net-conf.json of who reads it says
 *
 * and the keys of backends, such as vxlan's `vtepMAC: 0a:00:00:00:00:01`.
 * Pure. Nothing is passed over: a file is right as a whole or an error that names each mistake with its line.
 */
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLMap, type Node as YamlNode } from "yaml";
import { BACKENDS, backendNamed } from "../../pkg/backend/backends.ts";
import type { Backend } from "../../pkg/backend/contract.ts";
import { type NetConf, settingsOf } from "../../pkg/backend/net-conf.ts";
import type { ClusterNode } from "../../pkg/cluster/node/node.ts";
import { type Address, AddressError, type Family, parseAddress } from "../../pkg/ip/address.ts";
import { type Prefix, parseSubnet } from "../../pkg/ip/prefix.ts";

/** All that is wrong with the file, each mistake with its line and its field. */
export class NodeFileError extends Error {
  constructor(mistakes: readonly string[]) {
    super(mistakes.join("; "));
    this.name = "NodeFileError";
  }
}

/** What backends have stated of a node, and how its text is read. */
const FILE_KEYS = Object.assign(
  {},
  ...BACKENDS.map(({ announcement }) => announcement.fileKeys),
) as Backend["announcement"]["fileKeys"];
const KEYS = ["name", "podCIDRs", "addresses", "backend", ...Object.keys(FILE_KEYS)];

type Conf = Pick<NetConf, "backend" | "others">;

/** `conf` is this node's: a node that states no backend is taken to have this node's. Throws `NodeFileError`. */
export function parseNodeFile(text: string, conf: Conf): ClusterNode[] {
  const reader = new Reader();
  const document = parseDocument(text, { lineCounter: reader.lines, prettyErrors: false });
  for (const error of document.errors) reader.mistake(error.pos[0], "", error.message);
  if (document.errors.length > 0) throw new NodeFileError(reader.mistakes);

  const top = reader.map(document.contents, "the file", ["nodes"]);
  const entries = top === undefined ? [] : reader.list(top.get("nodes", true), "nodes", top);
  const nodes = entries.map((entry, at) => readNode(reader, entry, `nodes[${at}]`, conf));
  const seen = new Set<string>();
  nodes.forEach((node, at) => {
    if (node !== undefined && seen.has(node.name))
      reader.mistake(offsetOf(entries[at]), `nodes[${at}].name`, `${node.name} is there already`);
    seen.add(node?.name ?? "");
  });
  if (reader.mistakes.length > 0) throw new NodeFileError(reader.mistakes);
  return nodes.flatMap((node) => node ?? []);
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

/** Takes values out of the parsed document, and notes what is not as it should be. */
class Reader {
  readonly lines = new LineCounter();
  readonly mistakes: string[] = [];

  mistake(offset: number, field: string, what: string): void {
    const { line } = this.lines.linePos(offset);
    this.mistakes.push(`line ${line}: ${field === "" ? "" : `${field}: `}${what}`);
  }

  map(value: unknown, field: string, keys: readonly string[]): YAMLMap | undefined {
    if (!isMap(value)) {
      this.mistake(offsetOf(value), field, `expected ${keys.join(", ")}`);
      return undefined;
    }
    for (const { key } of value.items) {
      const name = isScalar(key) ? String(key.value) : String(key);
      if (!keys.includes(name)) this.mistake(offsetOf(key), field, `unknown key ${name}: known are ${keys.join(", ")}`);
    }
    return value;
  }

  /** `around` is where a value that is missing would be. */
  list(value: unknown, field: string, around: YAMLMap): readonly unknown[] {
    if (isSeq(value) && value.items.length > 0) return value.items;
    this.mistake(offsetOf(value ?? around), field, "expected a list with at least one entry");
    return [];
  }

  text(value: unknown, field: string, around: YAMLMap): string | undefined {
    if (isScalar(value) && typeof value.value === "string" && value.value !== "") return value.value;
    this.mistake(offsetOf(value ?? around), field, "expected text");
    return undefined;
  }

  value<T>(value: unknown, field: string, around: YAMLMap, parse: (text: string) => T): T | undefined {
    const text = this.text(value, field, around);
    if (text === undefined) return undefined;
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      this.mistake(offsetOf(value), field, error.message);
      return undefined;
    }
  }

  each<T>(value: unknown, field: string, around: YAMLMap, parse: (text: string) => T): T[] {
    return this.list(value, field, around).flatMap((item, at) => {
      const parsed = this.value(item, `${field}[${at}]`, around, parse);
      return parsed === undefined ? [] : [parsed];
    });
  }
}

function offsetOf(value: unknown): number {
  return (value as YamlNode | null | undefined)?.range?.[0] ?? 0;
}
