/**
 * `macvlan`: gives a container a link of its own hardware address on one of the host's links. Takes the reference
 * plugin's configuration.
 */
import { wrong } from "../../pkg/attachment/check.ts";
import { interfacePlugin } from "../../pkg/attachment/interface-plugin.ts";
import { oneOf, requestedMac } from "../../pkg/attachment/options.ts";
import { findParent, makeOnParent, type ParentConfig, parseParent } from "../../pkg/attachment/parent.ts";
import { MACVLAN_MODE, readDevice } from "../../pkg/kernel/single-link.ts";

interface MacvlanConfig extends ParentConfig {
  readonly mode: keyof typeof MACVLAN_MODE;
  /** `bcqueuelen`: how many broadcast packets wait for the work queue (IFLA_MACVLAN_BC_QUEUE_LEN). */
  readonly broadcastQueueLength: number | undefined;
  readonly mac: string | undefined;
}

const LONGEST_QUEUE = 2 ** 32 - 1;

export const plugin = interfacePlugin<MacvlanConfig>({
  name: "macvlan",
  about: "gives a container a link with its own hardware address on one of the host's links",
  parse(request) {
    const { config } = request;
    return {
      ...parseParent(request),
      mode: oneOf(config, "mode", MACVLAN_MODE, "bridge"),
      // 0 is the kernel's default, as with the reference.
      broadcastQueueLength: config.optionalInteger("bcqueuelen", { min: 0, max: LONGEST_QUEUE }) || undefined,
      mac: requestedMac(config, request.args) ?? config.optionalMac("mac"),
    };
  },
  make(making, config) {
    const { broadcastQueueLength } = config;
    const data = { mode: MACVLAN_MODE[config.mode], broadcastQueueLength };
    makeOnParent(making, config, { kind: "macvlan", data }, config.mac);
  },
  expected: ({ mtu }) => ({ kind: "macvlan", mtu }),
  check({ ifName }, sides, config) {
    findParent(sides, config);
    const device = readDevice(sides.pod, ifName);
    const mode = device?.kind === "macvlan" ? device.data?.mode : undefined;
    if (mode === MACVLAN_MODE[config.mode]) return;
    throw wrong(`the mode of ${ifName} in ${sides.pod.where} is number ${mode}: expected ${config.mode}`);
  },
});
