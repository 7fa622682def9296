/**
 * The result of ADD, in the format of CNI 1.1.0 with parsed addresses. Other formats exist only in this file:
 * `decodeResult` reads and `encodeResult` writes every version.
 *
 * As in the Go library, the keys that 1.1.0 added to routes are kept in every version that has lists of routes, because
 * the next plugin in the chain has no other source for them. Those that it added to interfaces are kept since 1.0.0.
 */

import { type Address, formatAddress } from "../ip/address.ts";
import { formatPrefix, type Prefix } from "../ip/prefix.ts";
import type { ConfigObject } from "./config.ts";
import { CniError, ErrorCode } from "./errors.ts";
import { isAtLeast, isVersion, type Version } from "./versions.ts";

export interface ResultInterface {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  /** The path of the network namespace. Absent for an interface on the host. */
  readonly sandbox?: string;
  readonly socketPath?: string;
  readonly pciID?: string;
}

export interface ResultAddress {
  readonly address: Prefix;
  readonly gateway?: Address;
  /** Index into `interfaces`. In the result of another program's plugin it may be out of range. */
  readonly interface?: number;
}

export interface ResultRoute {
  readonly dst: Prefix;
  readonly gw?: Address;
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
  readonly scope?: number;
}

export interface ResultDns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

export interface Result {
  readonly interfaces: readonly ResultInterface[];
  readonly ips: readonly ResultAddress[];
  readonly routes: readonly ResultRoute[];
  readonly dns: ResultDns;
}

export const EMPTY_RESULT: Result = { interfaces: [], ips: [], routes: [], dns: {} };

const ROUTE_NUMBERS = ["mtu", "advmss", "priority", "table", "scope"] as const;

type Json = Record<string, unknown>;

/**
 * Returns the text for standard output, byte for byte as the reference plugins print it: indented by four, without a
 * line feed at the end, and with sorted keys since 1.0.0.
 */
export function formatResult(result: Result, version: Version, options: ResultOptions = {}): string {
  const json = encodeResult(result, version, options);
  return JSON.stringify(isAtLeast(version, "1.0.0") ? sortKeys(json) : json, null, 4);
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  const sorted: Json = {};
  for (const key of Object.keys(value).sort()) sorted[key] = sortKeys((value as Json)[key]);
  return sorted;
}

export interface ResultOptions {
  /** Omits an empty `dns` even before 1.0.0. [false: the Go library prints it] */
  readonly omitsEmptyDns?: boolean;
}

/** Encodes the result in the format of `version`. Throws `CniError` 1 if that version cannot represent it. */
export function encodeResult(result: Result, version: Version, { omitsEmptyDns = false }: ResultOptions = {}): Json {
  const json: Json = { cniVersion: version };
  if (isAtLeast(version, "0.3.0")) {
    putList(
      json,
      "interfaces",
      result.interfaces.map((entry) => encodeInterface(entry, version)),
    );
    putList(
      json,
      "ips",
      result.ips.map((entry) => encodeAddress(entry, version)),
    );
    putList(
      json,
      "routes",
      result.routes.map((route) => encodeRoute(route, ROUTE_NUMBERS)),
    );
  } else {
    encodeByFamily(json, result, version);
  }
  const dns = encodeDns(result.dns);
  const isPrintedEmpty = !omitsEmptyDns && !isAtLeast(version, "1.0.0");
  if (Object.keys(dns).length > 0 || isPrintedEmpty) json.dns = dns;
  return json;
}

function encodeInterface(entry: ResultInterface, version: Version): Json {
  const { name, mac, mtu, sandbox, socketPath, pciID } = entry;
  const json: Json = { name };
  if (mac) json.mac = mac;
  const isExtended = isAtLeast(version, "1.0.0");
  if (isExtended && mtu) json.mtu = mtu;
  if (sandbox) json.sandbox = sandbox;
  if (isExtended && socketPath) json.socketPath = socketPath;
  if (isExtended && pciID) json.pciID = pciID;
  return json;
}

function encodeAddress(entry: ResultAddress, version: Version): Json {
  const json: Json = isAtLeast(version, "1.0.0") ? {} : { version: `${entry.address.address.family}` };
  if (entry.interface !== undefined) json.interface = entry.interface;
  json.address = formatPrefix(entry.address);
  if (entry.gateway) json.gateway = formatAddress(entry.gateway);
  return json;
}

function encodeRoute(route: ResultRoute, numbers: readonly (typeof ROUTE_NUMBERS)[number][]): Json {
  const json: Json = { dst: formatPrefix(route.dst) };
  if (route.gw) json.gw = formatAddress(route.gw);
  for (const key of numbers) {
    if (route[key] !== undefined) json[key] = route[key];
  }
  return json;
}

function encodeDns(dns: ResultDns): Json {
  const json: Json = {};
  putList(json, "nameservers", dns.nameservers ?? []);
  if (dns.domain) json.domain = dns.domain;
  putList(json, "search", dns.search ?? []);
  putList(json, "options", dns.options ?? []);
  return json;
}

/**
 * Versions before 0.3.0 have one address for each family, with that family's routes; routes have only `dst` and `gw`.
 */
function encodeByFamily(json: Json, result: Result, version: Version): void {
  for (const family of [4, 6] as const) {
    const first = result.ips.find((entry) => entry.address.address.family === family);
    if (first === undefined) continue;
    const inner: Json = { ip: formatPrefix(first.address) };
    if (first.gateway) inner.gateway = formatAddress(first.gateway);
    const routes = result.routes.filter((route) => route.dst.address.family === family);
    putList(
      inner,
      "routes",
      routes.map((route) => encodeRoute(route, [])),
    );
    json[`ip${family}`] = inner;
  }
  if (json.ip4 === undefined && json.ip6 === undefined) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      `CNI ${version} cannot represent a result without addresses: set cniVersion to 0.3.1 or newer`,
    );
  }
}

function putList(json: Json, key: string, list: readonly unknown[]): void {
  if (list.length > 0) json[key] = list;
}

/**
 * Decodes a result of any version. A result without a version has `fallback`, the configuration's version. Throws
 * `CniError` 7, which names the key, or 1 for an unknown version.
 */
export function decodeResult(object: ConfigObject, fallback: Version): Result {
  const version = object.optionalString("cniVersion") || fallback;
  if (!isVersion(version)) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      `${object.pathOf("cniVersion")}: "${version}" is not a known CNI version`,
    );
  }
  const dns = decodeDns(object.object("dns"));
  if (!isAtLeast(version, "0.3.0")) return { ...decodeByFamily(object), dns };
  return {
    interfaces: object.objectList("interfaces").map(decodeInterface),
    ips: object.objectList("ips").map(decodeAddress),
    routes: object.objectList("routes").map((entry) => decodeRoute(entry)),
    dns,
  };
}

function decodeInterface(object: ConfigObject): ResultInterface {
  return defined({
    name: object.optionalString("name") ?? "",
    mac: object.optionalString("mac"),
    mtu: object.optionalInteger("mtu", { min: 0 }),
    sandbox: object.optionalString("sandbox"),
    socketPath: object.optionalString("socketPath"),
    pciID: object.optionalString("pciID"),
  });
}

function decodeAddress(object: ConfigObject): ResultAddress {
  return defined({
    address: required(object, "address"),
    gateway: object.optionalAddress("gateway"),
    interface: object.optionalInteger("interface", { min: 0 }),
  });
}

function decodeRoute(object: ConfigObject, defaultGateway?: Address): ResultRoute {
  return defined({
    dst: required(object, "dst"),
    gw: object.optionalAddress("gw") ?? defaultGateway,
    mtu: object.optionalInteger("mtu", { min: 0 }),
    advmss: object.optionalInteger("advmss", { min: 0 }),
    priority: object.optionalInteger("priority"),
    table: object.optionalInteger("table", { min: 0 }),
    scope: object.optionalInteger("scope", { min: 0, max: 255 }),
  });
}

/** Decodes the routes of a configuration or a result: `[{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]`. */
export function decodeRoutes(object: ConfigObject, key: string): ResultRoute[] {
  return object.objectList(key).map((entry) => decodeRoute(entry));
}

/** Decodes the `dns` object of a configuration or a result. */
export function decodeDns(object: ConfigObject): ResultDns {
  const dns: { -readonly [key in keyof ResultDns]: ResultDns[key] } = {};
  for (const key of ["nameservers", "search", "options"] as const) {
    if (object.has(key)) dns[key] = object.stringList(key);
  }
  const domain = object.optionalString("domain");
  if (domain) dns.domain = domain;
  return dns;
}

/** In these versions, a route without a gateway uses the gateway of the address. */
function decodeByFamily(object: ConfigObject): Omit<Result, "dns"> {
  const ips: ResultAddress[] = [];
  const routes: ResultRoute[] = [];
  for (const key of ["ip4", "ip6"]) {
    const inner = object.optionalObject(key);
    if (inner === undefined) continue;
    const gateway = inner.optionalAddress("gateway");
    ips.push(defined({ address: required(inner, "ip"), gateway }));
    routes.push(...inner.objectList("routes").map((entry) => decodeRoute(entry, gateway)));
  }
  return { interfaces: [], ips, routes };
}

function required(object: ConfigObject, key: string): Prefix {
  const prefix = object.optionalPrefix(key);
  if (prefix === undefined) throw object.invalid(key, "an address with a prefix length");
  return prefix;
}

type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** Returns the object without keys whose value is undefined. */
function defined<T extends object>(entries: T): Defined<T> {
  const kept: Record<string, unknown> = {};
  for (const key of Object.keys(entries)) {
    const value = entries[key as keyof T];
    if (value !== undefined) kept[key] = value;
  }
  return kept as Defined<T>;
}
