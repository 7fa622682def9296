/**
 * net-conf.json: the cluster's pod networks and its backend, in flannel's format (Documentation/configuration.md and
 * backends.md in flannel). Keys match case-insensitively, as in Go. In addition to flannel's values, the backend may be
 * "auto" or be omitted, which means the same: plain routes to peers on the same link, VXLAN to others.
 */

import { ConfigObject } from "../cni/config.ts";
import { parseJsonObject } from "../cni/network.ts";
import { formatPrefix, isSamePrefix, networkOf, type Prefix } from "../ip/prefix.ts";
import { BACKENDS, backendMeant, DEFAULT_WORD, wordsText } from "./backends.ts";
import type { Backend, BackendConf, NetConfKey } from "./contract.ts";
import { backendKeys, networkKeys } from "./net-conf-keys.ts";

export interface NetConf {
  /** The networks of all pods, at most one for each family. */
  readonly networks: readonly Prefix[];
  /** The settings of the backend by which this node receives. */
  readonly backend: BackendConf;
  /** The settings of the other backends by name: those needed to send to peers that announce them. */
  readonly others: ReadonlyMap<string, BackendConf>;
}

export interface ParsedNetConf extends NetConf {
  /** Warnings about ignored values. Each names the key. */
  readonly warnings: readonly string[];
}

/** Returns the settings of a backend. Undefined if the configuration has none for it. */
export function settingsOf(
  { backend, others }: Pick<NetConf, "backend" | "others">,
  { name }: Backend,
): BackendConf | undefined {
  return backend.type === name ? backend : others.get(name);
}

/** Throws `CniError` 6 for text that is not JSON, 7 for an invalid value: the message names the key. */
export function parseNetConf(text: string): ParsedNetConf {
  const object = open(text);
  const warnings: string[] = [];
  const conf = read(object, warnings);
  const backend = object.object("Backend");
  const type = typeIn(backend);
  return {
    ...conf,
    warnings: [...warnings, ...unknownKeys(object, networkKeys()), ...unknownKeys(backend, backendKeys(), type)],
  };
}

/** Parses a configuration that weftd has already accepted. Throws as `parseNetConf` does, without warnings. */
export function readNetConf(text: string): NetConf {
  return read(open(text), []);
}

function open(text: string): ConfigObject {
  return new ConfigObject(parseJsonObject(new TextEncoder().encode(text), "network configuration (net-conf.json)"));
}

function read(object: ConfigObject, warnings: string[]): NetConf {
  const networks = readNetworks(object, warnings);
  const backend = object.object("Backend");
  const type = typeIn(backend);
  const own = backendMeant(type);
  if (own === undefined) throw backend.invalid("Type", wordsText());
  const context = { type, networks };
  return {
    networks,
    backend: own.readConf(backend, context),
    others: new Map(BACKENDS.filter((one) => one !== own).map((one) => [one.name, one.readConf(backend, context)])),
  };
}

/** Returns the type in lower case, because flannel compares it case-insensitively. */
function typeIn(backend: ConfigObject): string {
  return (backend.optionalString("Type") || DEFAULT_WORD).toLowerCase();
}

function readNetworks(object: ConfigObject, warnings: string[]): Prefix[] {
  const networks: Prefix[] = [];
  if (object.optionalBoolean("EnableIPv4") ?? true) networks.push(readNetwork(object, "Network", 4, warnings));
  if (object.optionalBoolean("EnableIPv6") ?? false) networks.push(readNetwork(object, "IPv6Network", 6, warnings));
  if (networks.length === 0) throw object.invalid("EnableIPv6", "at least one of EnableIPv4 and EnableIPv6 to be true");
  return networks;
}

/** Clears host bits, as flannel does. */
function readNetwork(object: ConfigObject, key: string, family: 4 | 6, warnings: string[]): Prefix {
  const prefix = object.optionalPrefix(key);
  if (prefix?.address.family !== family) throw object.invalid(key, `the pods' IPv${family} network`);
  const network = networkOf(prefix);
  if (!isSamePrefix(prefix, network))
    warnings.push(`${key}: ${formatPrefix(prefix)} has host bits set: using ${formatPrefix(network)}`);
  return network;
}

/** Given `type`, keys of other backends count as unknown, too. */
function unknownKeys(object: ConfigObject, known: readonly NetConfKey[], type?: string): string[] {
  return object.keys().flatMap((key) => {
    const found = known.filter(({ name }) => name.toLowerCase() === key.toLowerCase());
    if (found.some(({ isIdle }) => isIdle === true))
      return [`${object.pathOf(key)} has no effect: weft uses the Nodes' podCIDRs as subnets, and nftables for rules`];
    const isServed = found.some(({ types }) => type === undefined || types?.includes(type) !== false);
    return isServed ? [] : [`${object.pathOf(key)} is unknown and ignored`];
  });
}
