/** `bridge`: attaches a container to a Linux bridge by a veth pair. Takes the reference plugin's configuration. */
import { ipamType } from "../../pkg/attachment/ipam.ts";
import { delegateCheck, delegateStatus } from "../../pkg/cni/delegate.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";
import { add } from "./add.ts";
import { checkAttachment } from "./check.ts";
import { parseBridgeConfig } from "./config.ts";
import { del, gc } from "./del.ts";
import { assertFilteringIsPossible } from "./device.ts";

export const plugin: Plugin = {
  name: "bridge",
  about: "attaches a container to a Linux bridge by a veth pair",
  add,
  del,
  check(request) {
    checkAttachment(request, parseBridgeConfig(request.config, request.args));
    const ipam = ipamType(request.config);
    if (ipam !== undefined) delegateCheck(request, ipam);
  },
  status(request) {
    checkStatus(request);
    const ipam = ipamType(request.config);
    if (ipam !== undefined) delegateStatus(request, ipam);
  },
  gc,
};

function checkStatus(request: CniRequest): void {
  const config = parseBridgeConfig(request.config, request.args);
  if (config.vlans === undefined) return;
  const host = openRoute(request.system);
  try {
    assertFilteringIsPossible(host, config);
  } finally {
    host.close();
  }
}
