/** host-local's part of a network configuration: the `ipam` object, and the settings for one container. */

import { CniError, ErrorCode } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import { decodeRoutes, type ResultRoute } from "../cni/result.ts";
import { isAtLeast } from "../cni/versions.ts";
import { DEFAULT_HOST_LOCAL_DIR } from "../footprint.ts";
import { type Address, AddressError, parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import { type RangeSet, readRangeSets } from "./ranges.ts";

export interface IpamConfig {
  /** At least one set. */
  readonly rangeSets: readonly RangeSet[];
  readonly routes: readonly ResultRoute[];
  /** The path of a file in resolv.conf(5) format that provides the result's DNS settings. */
  readonly resolvConf: string | undefined;
  /** The addresses from CNI_ARGS, `args.cni.ips` and `runtimeConfig.ips` together. */
  readonly requested: readonly Address[];
}

/**
 * The directory of the reservations. Reads no other key, so that DEL works with a configuration that ADD would refuse.
 */
export function readDataDir(request: CniRequest): string {
  return request.config.object("ipam").optionalString("dataDir") || DEFAULT_HOST_LOCAL_DIR;
}

/** Parses the configuration. Throws `CniError` 7, or 4 for CNI_ARGS. */
export function readIpamConfig(request: CniRequest): IpamConfig {
  const ipam = request.config.optionalObject("ipam");
  if (ipam === undefined) throw request.config.invalid("ipam", "an object with the ranges of addresses");
  const rangeSets = readRangeSets(ipam, request.runtimeConfig);
  if (rangeSets.length === 0) throw ipam.invalid("ranges", "at least one range set");
  assertTold(rangeSets, request);
  return {
    rangeSets,
    routes: decodeRoutes(ipam, "routes"),
    resolvConf: ipam.optionalString("resolvConf") || undefined,
    requested: readRequested(request),
  };
}

/** Results before 0.3.0 can represent only one address of each family. */
function assertTold(sets: readonly RangeSet[], request: CniRequest): void {
  const { version } = request.call.config;
  if (isAtLeast(version, "0.3.0")) return;
  for (const family of [4, 6] as const) {
    if (sets.filter(([first]) => first?.subnet.address.family === family).length < 2) continue;
    throw new CniError(
      ErrorCode.invalidConfig,
      `ipam.ranges: CNI ${version} does not support more than one IPv${family} address: configure one range set, ` +
        "or set cniVersion to 0.3.1 or newer",
    );
  }
}

function readRequested(request: CniRequest): Address[] {
  const fromArgs = request.args.read("IP").get("IP") ?? "";
  const given = [
    ...fromArgs.split(",").map((text): [string, string] => ["CNI_ARGS: IP", text]),
    ...request.configArgs.stringList("ips").map((text): [string, string] => ["args.cni.ips", text]),
    ...request.runtimeConfig.stringList("ips").map((text): [string, string] => ["runtimeConfig.ips", text]),
  ];
  return given.filter(([, text]) => text !== "").map(([source, text]) => parseRequested(source, text));
}

/** A prefix length may follow the address; it is ignored in favour of the range's. */
function parseRequested(source: string, text: string): Address {
  try {
    return text.includes("/") ? parsePrefix(text).address : parseAddress(text);
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    const code = source.startsWith("CNI_ARGS") ? ErrorCode.invalidEnvironment : ErrorCode.invalidConfig;
    throw new CniError(code, `${source}: ${error.message}`, { cause: error });
  }
}
