/**
 * `host-device`: moves one of the host's links into the container, and back at DEL. Meanwhile the link's alias is its
 * name on the host, as with the reference plugin. Takes the reference plugin's configuration.
 */
import { wrong } from "../../pkg/attachment/check.ts";
import { interfacePlugin } from "../../pkg/attachment/interface-plugin.ts";
import { inOwnPod } from "../../pkg/attachment/own-pod.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { parseWanted, type Wanted } from "./config.ts";
import { findWanted, isUserspaceDevice } from "./find.ts";
import { giveBack, moveIn, restoreName } from "./move.ts";

export const plugin = interfacePlugin<Wanted>({
  name: "host-device",
  about: "moves one of the host's links into a container",
  parse: parseWanted,
  hasLink: ({ system }, wanted) => !isUserspaceDevice(system, wanted),
  prepare(context, wanted) {
    const link = findWanted(context.sockets.host, context.request.system, wanted);
    return () => moveIn(context, link);
  },
  remove(request) {
    if (!inOwnPod(request, (pod) => giveBack(request, pod))) restoreName(request);
  },
  expected: () => ({}),
  check({ sockets, link }, wanted) {
    if (wanted.by !== "device" || link.alias === wanted.name) return;
    // The link keeps its alternative names, which the configuration may use.
    if (findLink(sockets.pod, wanted.name)?.index === link.index) return;
    const from = link.alias === "" ? "no link" : link.alias;
    throw wrong(`the alias of ${link.name} in ${sockets.pod.where} names ${from}: expected ${wanted.name}`);
  },
  collect: restoreName,
});
