/**
 * `ptp`: connects a container to the host by its own veth pair and routes. Takes the reference plugin's configuration.
 */
import { collect, detach } from "../../pkg/attachment/detach.ts";
import { ownSender, removeSenders } from "../../pkg/attachment/senders.ts";
import { delegateCheck, delegateStatus } from "../../pkg/cni/delegate.ts";
import type { Plugin } from "../../pkg/cni/plugin.ts";
import { add } from "./add.ts";
import { checkAttachment } from "./check.ts";
import { parsePtpConfig } from "./config.ts";

export const plugin: Plugin = {
  name: "ptp",
  about: "connects a container to the host by its own veth pair, and routes to it",
  add,
  del(request) {
    const isMasqueraded = request.config.value("ipMasq") === true;
    detach(request, {
      isMasqueraded,
      legacy: isMasqueraded ? ["masquerade"] : [],
      elements: request.config.value("guardSenders") === true ? [ownSender(request, "ptp")] : [],
    });
  },
  check(request) {
    const config = parsePtpConfig(request.config);
    checkAttachment(request, config);
    delegateCheck(request, config.ipam);
  },
  status(request) {
    delegateStatus(request, parsePtpConfig(request.config).ipam);
  },
  gc(request) {
    collect(request, {
      legacy: ["masquerade"],
      remove: (isGarbage) => removeSenders(request.system, isGarbage),
    });
  },
};
