/**
 * The files that weftd writes to its run directory for the executables: the node table, from which they can program a
 * node's data path without weftd, and the stamp, which says that this node can serve. The stamp is small, whatever the
 * number of peers.
 */

import { ConfigObject } from "../cni/config.ts";
import { parseJsonObject } from "../cni/network.ts";
import { STAMP_FILE, TABLE_FILE } from "../footprint.ts";
import { type Address, type Family, formatAddress } from "../ip/address.ts";
import { formatPrefix, type Prefix } from "../ip/prefix.ts";
import { backendNamed } from "./backends.ts";
import { type NetConf, readNetConf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";

/** Must be increased if a reader of the old format would misread the new one. */
const FORMAT = 1;

export interface Stamp {
  readonly bootId: string;
  /** Incremented at each change of the table. */
  readonly generation: number;
  /** The backend's name. */
  readonly backend: string;
  /** The devices that must exist and be up. */
  readonly devices: readonly string[];
}

export interface NodeTable {
  readonly bootId: string;
  readonly generation: number;
  /** The content of net-conf.json as weftd read it. */
  readonly netConf: string;
  readonly node: LocalNode;
  /** The hardware addresses of this node's devices by name, as its peers know them. */
  readonly deviceMacs: ReadonlyMap<string, string>;
  readonly peers: readonly Peer[];
  /** The node's earlier pod subnets in this boot. */
  readonly formerSubnets: readonly Prefix[];
}

/** A table or stamp in a format that this version does not know. Another version of weft wrote it. */
export class UnknownFormatError extends Error {
  constructor(found: unknown) {
    super(`format ${JSON.stringify(found)} is unknown to this version, which reads only format ${FORMAT}`);
    this.name = "UnknownFormatError";
  }
}

export function formatStamp(stamp: Stamp): string {
  return `${JSON.stringify({ format: FORMAT, ...stamp })}\n`;
}

/** Throws `UnknownFormatError`, or `CniError` 6 or 7 for a damaged file. */
export function parseStamp(bytes: Uint8Array): Stamp {
  const object = openFile(bytes, STAMP_FILE);
  return {
    bootId: object.requiredString("bootId"),
    generation: object.requiredInteger("generation", { min: 0 }),
    backend: object.requiredString("backend"),
    devices: object.stringList("devices"),
  };
}

export function formatNodeTable(table: NodeTable): string {
  const { bootId, generation, netConf, node, deviceMacs, peers, formerSubnets } = table;
  const start = JSON.stringify({
    ...{ format: FORMAT, bootId, generation, netConf },
    node: encodeNode(node),
    // The key's name dates from when VXLAN devices were the only ones.
    vtepMacs: Object.fromEntries(deviceMacs),
    ...(formerSubnets.length > 0 && { formerSubnets: formerSubnets.map(formatPrefix) }),
  });
  return `${start.slice(0, -1)},"peers":[${peers.map(peerText).join(",")}]}\n`;
}

/** Caches the text of each peer: the table of thousands of peers is written at each change of one. */
const peerTexts = new WeakMap<Peer, string>();

function peerText(peer: Peer): string {
  const known = peerTexts.get(peer) ?? JSON.stringify(encodePeer(peer));
  peerTexts.set(peer, known);
  return known;
}

/** Throws as `parseStamp` does. */
export function parseNodeTable(bytes: Uint8Array): NodeTable & { readonly conf: NetConf } {
  const object = openFile(bytes, TABLE_FILE);
  const netConf = object.requiredString("netConf");
  return {
    bootId: object.requiredString("bootId"),
    generation: object.requiredInteger("generation", { min: 0 }),
    netConf,
    conf: readNetConf(netConf),
    node: decodeNode(object.object("node")),
    deviceMacs: decodeMacs(object.object("vtepMacs")),
    peers: object.objectList("peers").map(decodePeer),
    formerSubnets: object.subnetList("formerSubnets"),
  };
}

function openFile(bytes: Uint8Array, what: string): ConfigObject {
  const object = new ConfigObject(parseJsonObject(bytes, `file ${what}`));
  if (object.value("format") !== FORMAT) throw new UnknownFormatError(object.value("format"));
  return object;
}

function encodeNode({ name, subnets, underlay }: LocalNode) {
  const { index, mtu, local, networks } = underlay;
  return {
    name,
    subnets: subnets.map(formatPrefix),
    underlay: { index, mtu, local: Object.values(local).map(formatAddress), networks: networks.map(formatPrefix) },
  };
}

function decodeNode(object: ConfigObject): LocalNode {
  const underlay = object.object("underlay");
  const local = underlay.addressList("local");
  return {
    name: object.requiredString("name"),
    subnets: object.subnetList("subnets"),
    underlay: {
      index: underlay.requiredInteger("index", { min: 1 }),
      mtu: underlay.requiredInteger("mtu", { min: 1 }),
      local: Object.fromEntries(local.map((address) => [address.family, address])) as Partial<Record<Family, Address>>,
      networks: underlay.prefixList("networks"),
    },
  };
}

function decodeMacs(object: ConfigObject): ReadonlyMap<string, string> {
  const names = object.keys();
  return new Map(
    names.flatMap((name) => {
      const mac = object.optionalMac(name);
      return mac === undefined ? [] : [[name, mac]];
    }),
  );
}

function encodePeer(peer: Peer) {
  const { name, subnets, addresses, backendType } = peer;
  return {
    ...{ name, backendType, ...backendNamed(backendType)?.announcement.encodePeer(peer) },
    ...{ subnets: subnets.map(formatPrefix), addresses: addresses.map(formatAddress) },
  };
}

function decodePeer(object: ConfigObject): Peer {
  return decodePeerOf(object, object.optionalString("backendType"));
}

/** Also decodes `peers` in a plugin's configuration, which does not name the peers' backend. */
export function decodePeerOf(object: ConfigObject, backendType: string | undefined): Peer {
  const base = {
    name: object.requiredString("name"),
    subnets: object.subnetList("subnets"),
    addresses: object.addressList("addresses"),
    backendType,
  };
  return backendNamed(backendType)?.decodePeer?.(base, object) ?? base;
}
