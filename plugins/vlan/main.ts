/** `vlan`: gives a container a VLAN of one of the host's links. Takes the reference plugin's configuration. */
import { wrong } from "../../pkg/attachment/check.ts";
import { interfacePlugin } from "../../pkg/attachment/interface-plugin.ts";
import {
  checkParent,
  type ParentConfig,
  parseParent,
  prepareOnParent,
  requireParent,
} from "../../pkg/attachment/parent.ts";
import { readDevice } from "../../pkg/kernel/single-link.ts";

interface VlanConfig extends ParentConfig {
  readonly id: number;
}

/** 4095 is reserved (IEEE 802.1Q). */
const LARGEST_ID = 4094;

export const plugin = interfacePlugin<VlanConfig>({
  name: "vlan",
  about: "gives a container a VLAN of one of the host's links",
  needsAddresses: true,
  parse(request) {
    const { config } = request;
    return {
      ...parseParent(request),
      master: config.requiredString("master"),
      id: config.optionalInteger("vlanId", { min: 0, max: LARGEST_ID }) ?? 0,
    };
  },
  prepare(context, config) {
    return prepareOnParent(context, config, { kind: "vlan", data: { id: config.id } });
  },
  expected: () => ({ kind: "vlan" }),
  check(checked, config) {
    checkParent(checked, config);
    const { sockets, link } = checked;
    const device = readDevice(sockets.pod, link.index);
    const id = device?.kind === "vlan" ? device.data?.id : undefined;
    if (id !== config.id) throw wrong(`${link.name} in ${sockets.pod.where} is VLAN ${id}: expected ${config.id}`);
  },
  status: (request, config) => requireParent(request, config, "vlan"),
});
