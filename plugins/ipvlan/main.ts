/**
 * `ipvlan`: gives a container a link on one of the host's links, with that link's hardware address. Takes the reference
 * plugin's configuration. In a chain, takes link and addresses from the previous plugin.
 */
import { wrong } from "../../pkg/attachment/check.ts";
import { interfacePlugin } from "../../pkg/attachment/interface-plugin.ts";
import { oneOf } from "../../pkg/attachment/options.ts";
import {
  checkParent,
  type ParentConfig,
  parseParent,
  prepareOnParent,
  requireParent,
} from "../../pkg/attachment/parent.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { IPVLAN_MODE, readDevice } from "../../pkg/kernel/single-link.ts";

interface IpvlanConfig extends ParentConfig {
  readonly mode: keyof typeof IPVLAN_MODE;
}

export const plugin = interfacePlugin<IpvlanConfig>({
  name: "ipvlan",
  about: "gives a container a link on one of the host's links, with that link's hardware address",
  needsAddresses: true,
  parse(request) {
    const parent = parseParent(request);
    const isAdd = request.call.environment.verb === "ADD";
    const master = parent.master ?? (isAdd ? chainedMaster(request) : undefined);
    return { ...parent, master, mode: oneOf(request.config, "mode", IPVLAN_MODE, "l2") };
  },
  prepare(context, config) {
    return prepareOnParent(context, config, { kind: "ipvlan", data: { mode: IPVLAN_MODE[config.mode] } });
  },
  expected: () => ({ kind: "ipvlan" }),
  check(checked, config) {
    checkParent(checked, config);
    const { sockets, link } = checked;
    const device = readDevice(sockets.pod, link.index);
    const mode = device?.kind === "ipvlan" ? device.data?.mode : undefined;
    if (mode === IPVLAN_MODE[config.mode]) return;
    throw wrong(`the mode of ${link.name} in ${sockets.pod.where} is number ${mode}: expected ${config.mode}`);
  },
  status: (request, config) => requireParent(request, config, "ipvlan"),
  /** After another plugin, its addresses are used, unless there is an `ipam`. */
  otherAddresses(request) {
    const previous = request.prevResult;
    return previous === undefined || previous.ips.length === 0 ? undefined : previous;
  },
});

/** Returns the only interface of the previous plugin. */
function chainedMaster(request: CniRequest): string | undefined {
  const previous = request.prevResult;
  if (previous === undefined) return undefined;
  const [only, ...others] = previous.interfaces;
  if (only !== undefined && only.name !== "" && others.length === 0) return only.name;
  throw new CniError(
    ErrorCode.invalidConfig,
    `master: expected a link's name, since prevResult has ${previous.interfaces.length} interfaces; it is taken from prevResult only if there is exactly one`,
  );
}
