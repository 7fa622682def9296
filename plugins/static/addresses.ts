/**
 * Reads the addresses that `static` assigns: the configuration's, followed by those of CNI_ARGS. `args.cni.ips`
 * replaces all these, and the runtime's `ips` replaces that, too. Pure.
 */
import { parseArgument } from "../../pkg/cni/arguments.ts";
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import type { ResultAddress } from "../../pkg/cni/result.ts";
import { isAtLeast } from "../../pkg/cni/versions.ts";
import { type Address, parseAddress } from "../../pkg/ip/address.ts";
import { contains, networkOf, type Prefix, parsePrefix } from "../../pkg/ip/prefix.ts";

/** Throws `CniError` 7, and 4 for CNI_ARGS. */
export function readAddresses(request: CniRequest, ipam: ConfigObject): ResultAddress[] {
  const listed = listedAddresses(request, ipam);
  const fromArgs = request.configArgs.prefixList("ips");
  const fromRuntime = request.runtimeConfig.prefixList("ips");
  const replacing = fromRuntime.length > 0 ? fromRuntime : fromArgs;
  const chosen = replacing.length > 0 ? replacing.map((address) => ({ address })) : listed;
  assertTold(request, chosen);
  return chosen;
}

function listedAddresses({ args }: CniRequest, ipam: ConfigObject): ResultAddress[] {
  const pairs = args.read("IP", "GATEWAY");
  const requested = parseArgument(pairs, "IP", parsePrefix).map((address) => ({ address }));
  const gateways = parseArgument(pairs, "GATEWAY", parseAddress);
  return [...ipam.objectList("addresses").map(readAddress), ...requested.map((entry) => withGateway(entry, gateways))];
}

function readAddress(entry: ConfigObject): ResultAddress {
  const address = entry.optionalPrefix("address");
  if (address === undefined) throw entry.invalid("address", "an address with a prefix length");
  const gateway = entry.optionalAddress("gateway");
  return gateway === undefined ? { address } : { address, gateway };
}

/** Adds the gateway of CNI_ARGS that is in the address's network. */
function withGateway(entry: ResultAddress, gateways: readonly Address[]): ResultAddress {
  const gateway = gateways.findLast((candidate) => isInNetwork(candidate, entry.address));
  return gateway === undefined ? entry : { ...entry, gateway };
}

function isInNetwork(address: Address, prefix: Prefix): boolean {
  return address.family === prefix.address.family && contains(networkOf(prefix), address);
}

/** Checks the number of addresses: results before 0.3.0 can have only one address of each family. */
function assertTold(request: CniRequest, addresses: readonly ResultAddress[]): void {
  const { version } = request.call.config;
  if (isAtLeast(version, "0.3.0")) return;
  for (const family of [4, 6] as const) {
    if (addresses.filter(({ address }) => address.address.family === family).length < 2) continue;
    throw new CniError(
      ErrorCode.invalidConfig,
      `ipam.addresses: CNI ${version} does not support more than one IPv${family} address: expected cniVersion 0.3.1 or newer`,
    );
  }
}
