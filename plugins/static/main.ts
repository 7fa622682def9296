/**
 * `static`: assigns the addresses of its configuration to a container. It keeps no state, so there is nothing to free,
 * and other pods are not prevented from using the same addresses.
 */
import type { ConfigObject } from "../../pkg/cni/config.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import { decodeDns, decodeRoutes } from "../../pkg/cni/result.ts";
import { formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import { formatPrefix, isSamePrefix } from "../../pkg/ip/prefix.ts";
import { readAddresses } from "./addresses.ts";

export const plugin: Plugin = {
  name: "static",
  about: "assigns the addresses of its configuration to a container",
  usesNamespace: false,
  add(request) {
    const ipam = ipamOf(request);
    return {
      interfaces: [],
      ips: readAddresses(request, ipam),
      routes: decodeRoutes(ipam, "routes"),
      dns: decodeDns(ipam.object("dns")),
    };
  },
  del() {},
  check,
  status(request) {
    ipamOf(request);
  },
};

function ipamOf(request: CniRequest): ConfigObject {
  const ipam = request.config.optionalObject("ipam");
  if (ipam === undefined) throw request.config.invalid("ipam", "an object with the addresses to assign");
  return ipam;
}

/** Checks that each address is in the result of the last ADD, with the configured gateway. */
function check(request: CniRequest): void {
  const previous = request.requirePrevResult().ips;
  for (const { address, gateway } of readAddresses(request, ipamOf(request))) {
    const found = previous.find((entry) => isSamePrefix(entry.address, address));
    const wanted = `${formatPrefix(address)} of ${request.containerId} ${request.ifName}`;
    if (found === undefined) throw wrong(`prevResult does not have the address ${wanted}`);
    if (gateway === undefined || (found.gateway !== undefined && isSameAddress(found.gateway, gateway))) continue;
    const told = found.gateway === undefined ? "none" : formatAddress(found.gateway);
    throw wrong(`the gateway of ${wanted} is ${told} in prevResult: expected ${formatAddress(gateway)}`);
  }
}

function wrong(what: string): CniError {
  return new CniError(ErrorCode.internal, `static: CHECK: ${what}`);
}
