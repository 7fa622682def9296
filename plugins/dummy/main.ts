/**
 * `dummy`: gives a container an interface without a network, only for its addresses. Takes the reference plugin's
 * configuration.
 */
import { makeDevice, requireDevice } from "../../pkg/attachment/device.ts";
import { type AttachContext, interfacePlugin } from "../../pkg/attachment/interface-plugin.ts";
import { removeLink } from "../../pkg/attachment/links.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";

export const plugin = interfacePlugin<undefined>({
  name: "dummy",
  about: "gives a container an interface without a network, for its addresses",
  needsAddresses: true,
  parse: () => undefined,
  prepare: (context) => () => makeDummy(context),
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

function makeDummy({ request: { ifName }, sockets, undo }: AttachContext): void {
  makeDevice(sockets.pod, { name: ifName, device: { kind: "dummy" } });
  undo.push(() => removeLink(sockets.pod, ifName));
}
