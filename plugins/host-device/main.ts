/**
 * `host-device`: moves one of the host's links into the container, and back at DEL. The name it had on the host stands in
 * its alias meanwhile, where the reference plugin keeps it too. Takes the reference plugin's configuration.
 */
import { interfacePlugin, type Making } from "../../pkg/attachment/interface-plugin.ts";
import type { Request } from "../../pkg/cni/plugin.ts";
import { moveLink } from "../../pkg/kernel/link.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";
import type { NetworkNamespace } from "../../pkg/sys/system.ts";
import { parseWanted, type Wanted } from "./config.ts";
import { findWanted, isUserspaceDevice } from "./find.ts";

/** What may name a link (dev_valid_name in net/core/dev.c). */
const LINK_NAME = /^(?!\.{1,2}$)[^\s/:]{1,15}$/;

export const plugin = interfacePlugin<Wanted>({
  name: "host-device",
  about: "moves one of the host's links into a container",
  parse: parseWanted,
  hasLink: ({ system }, wanted) => !isUserspaceDevice(system, wanted),
  make(making, wanted) {
    moveIn(making, wanted);
  },
  remove: moveOut,
  expected: () => ({}),
});

function moveIn({ request, namespace, sides, undo }: Making, wanted: Wanted): void {
  const { index, name } = findWanted(sides.host, request.system, wanted);
  // Also where the kernel refused only the last part of the move: then the link is there under its old name.
  undo.push(() => moveOut(request, namespace));
  sides.host.run(moveLink(index, { namespaceFd: namespace.fd, name: request.ifName, alias: name }));
}

/**
 * One that is gone has been moved before, or went with the container's namespace; one without an alias was never moved in,
 * but is another plugin's of the same name.
 */
function moveOut({ system, ifName }: Request, namespace: NetworkNamespace): void {
  const pod = openRoute(system, namespace);
  const host = system.openNamespace();
  try {
    const link = findLink(pod, ifName);
    if (link === undefined || link.alias === "") return;
    const name = LINK_NAME.test(link.alias) ? link.alias : ifName;
    pod.run(moveLink(link.index, { namespaceFd: host.fd, name, alias: "" }));
  } finally {
    host.close();
    pod.close();
  }
}
