/**
 * `macvlan`: gives a container a link on one of the host's links, with its own hardware address. Takes the reference
 * plugin's configuration.
 */
import { wrong } from "../../pkg/attachment/check.ts";
import { interfacePlugin } from "../../pkg/attachment/interface-plugin.ts";
import { configuredMac, oneOf } from "../../pkg/attachment/options.ts";
import {
  checkParent,
  type ParentConfig,
  parseParent,
  prepareOnParent,
  requireParent,
} from "../../pkg/attachment/parent.ts";
import { MACVLAN_MODE, readDevice } from "../../pkg/kernel/single-link.ts";

interface MacvlanConfig extends ParentConfig {
  readonly mode: keyof typeof MACVLAN_MODE;
  /** `bcqueuelen`: the number of broadcast packets that may wait for the work queue (IFLA_MACVLAN_BC_QUEUE_LEN). */
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
      mac: configuredMac(config, request.args),
    };
  },
  prepare(context, config) {
    const { broadcastQueueLength } = config;
    const data = { mode: MACVLAN_MODE[config.mode], broadcastQueueLength };
    return prepareOnParent(context, config, { kind: "macvlan", data }, config.mac);
  },
  expected: () => ({ kind: "macvlan" }),
  check(checked, config) {
    checkParent(checked, config);
    const { sockets, link } = checked;
    const device = readDevice(sockets.pod, link.index);
    const data = device?.kind === "macvlan" ? device.data : undefined;
    const where = `${link.name} in ${sockets.pod.where}`;
    if (data?.mode !== MACVLAN_MODE[config.mode]) {
      throw wrong(`the mode of ${where} is number ${data?.mode}: expected ${config.mode}`);
    }
    const wanted = config.broadcastQueueLength;
    if (wanted === undefined || data.broadcastQueueLength === wanted) return;
    throw wrong(`the bcqueuelen of ${where} is ${data.broadcastQueueLength}: expected ${wanted}`);
  },
  status: (request, config) => requireParent(request, config, "macvlan"),
});
