/**
 * `dummy`: gives a container an interface that leads nowhere, for its addresses alone. Takes the reference plugin's
 * configuration.
 */
import { makeDevice, requireDevice } from "../../pkg/attachment/device.ts";
import { interfacePlugin, type Making } from "../../pkg/attachment/interface-plugin.ts";
import { removeLink } from "../../pkg/attachment/links.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";

export const plugin = interfacePlugin<undefined>({
  name: "dummy",
  about: "gives a container an interface that leads nowhere, for its addresses",
  needsAddresses: true,
  parse: () => undefined,
  prepare: (making) => () => makeDummy(making),
  expected: () => ({ kind: "dummy" }),
  status({ system }) {
    const host = openRoute(system);
    try {
      requireDevice(host, "dummy");
    } finally {
      host.close();
    }
  },
});

function makeDummy({ request: { ifName }, sides, undo }: Making): void {
  makeDevice(sides.pod, { name: ifName, device: { kind: "dummy" } });
  undo.push(() => removeLink(sides.pod, ifName));
}
