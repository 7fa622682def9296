/**
 * `host-device`: moves one of the host's links into the container, and back at DEL. The name it had on the host stands in
 * its alias meanwhile, where the reference plugin keeps it too. Takes the reference plugin's configuration.
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
    // Its alternative names, by which the configuration may call it, have come along.
    if (findLink(sockets.pod, wanted.name)?.index === link.index) return;
    const from = link.alias === "" ? "nowhere" : link.alias;
    throw wrong(`${link.name} in ${sockets.pod.where} comes, by its alias, from ${from}: expected ${wanted.name}`);
  },
  collect: restoreName,
});
