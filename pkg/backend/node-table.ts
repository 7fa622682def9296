/**
 * What weftd leaves in its run directory for the executables: the node table, from which a node's data path can be made
 * without weftd, and a stamp, small whatever the number of peers, that tells that this node can serve.
 */

import { ConfigObject } from "../cni/config.ts";
import { parseJsonObject } from "../cni/network.ts";
import { STAMP_FILE, TABLE_FILE } from "../footprint.ts";
import { type Address, type Family, formatAddress } from "../ip/address.ts";
import { formatPrefix, type Prefix } from "../ip/prefix.ts";
import { backendNamed } from "./backends.ts";
import { type NetConf, readNetConf } from "./net-conf.ts";
import type { LocalNode, Peer } from "./node.ts";

/** Counted up when a reader of the old form would misread the new one. */
const FORMAT = 1;

export interface Stamp {
  readonly bootId: string;
  /** Counted up at each change of the table. */
  readonly generation: number;
  /** Its name. */
  readonly backend: string;
  /** Devices that must be there and up. */
  readonly devices: readonly string[];
}

export interface NodeTable {
  readonly bootId: string;
  readonly generation: number;
  /** net-conf.json as weftd read it. */
  readonly netConf: string;
  readonly node: LocalNode;
  /** The hardware addresses of this node's devices by name, as its peers know them. */
  readonly deviceMacs: ReadonlyMap<string, string>;
  readonly peers: readonly Peer[];
  /** This node's pod subnets of before, in this boot. */
  readonly formerSubnets: readonly Prefix[];
}

/** A table or stamp that this version does not understand; another version of weft wrote it. */
export class UnknownFormatError extends Error {
  constructor(found: unknown) {
    super(`format ${JSON.stringify(found)} is not known to this version, which reads format ${FORMAT}`);
    this.name = "UnknownFormatError";
  }
}

export function formatStamp(stamp: Stamp): string {
  return `${JSON.stringify({ format: FORMAT, ...stamp })}\n`;
}

/** Throws `UnknownFormatError`, and `CniError` 6 or 7 for what is damaged. */
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
  return `${JSON.stringify({
    ...{ format: FORMAT, bootId, generation, netConf },
    node: encodeNode(node),
    // By the name that it had when VXLAN devices were the only ones.
    vtepMacs: Object.fromEntries(deviceMacs),
    peers: peers.map(encodePeer),
    ...(formerSubnets.length > 0 && { formerSubnets: formerSubnets.map(formatPrefix) }),
  })}\n`;
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

/** Also the form of `peers` in a plugin's configuration, which says by itself what the peers' backend is. */
export function decodePeerOf(object: ConfigObject, backendType: string | undefined): Peer {
  const base = {
    name: object.requiredString("name"),
    subnets: object.subnetList("subnets"),
    addresses: object.addressList("addresses"),
    backendType,
  };
  return backendNamed(backendType)?.decodePeer?.(base, object) ?? base;
}
