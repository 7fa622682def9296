/** `loopback`: brings up a container's lo. The kernel adds its addresses, so there is nothing to assign. */
import { inOwnPod } from "../../pkg/attachment/own-pod.ts";
import { inPod } from "../../pkg/attachment/pod.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import type { Result, ResultAddress } from "../../pkg/cni/result.ts";
import { addressDump, parseLinkAddress } from "../../pkg/kernel/address.ts";
import { changeLink, getLink, type Link, type LinkState, parseLink, parseLinkState } from "../../pkg/kernel/link.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";

/** The loopback device of every namespace (drivers/net/loopback.c). */
const NAME = "lo";

export const plugin: Plugin = {
  name: "loopback",
  omitsEmptyDns: true,
  about: "brings up a container's loopback interface",
  add(request) {
    return inPod(request, (pod) => {
      const result = request.prevResult;
      const lo = bringUp(pod);
      const ips = addressesOf(pod, lo);
      // In a chain, the previous result is returned, since the container's interfaces belong to other plugins.
      return result ?? describe(request, lo, ips);
    });
  },
  del(request) {
    inOwnPod(request, (pod) => pod.run(changeLink(NAME, { up: false })));
  },
  check(request) {
    inPod(request, (pod) => {
      const lo = readLink(pod);
      if (!lo.isUp)
        throw new CniError(ErrorCode.internal, `the interface ${NAME} in ${pod.where} is down: expected it up`);
    });
  },
};

function bringUp(pod: BlockingNetlink): LinkState {
  const [message] = pod.run(changeLink(NAME, { up: true }), getLink(NAME));
  if (message === undefined) throw new Error(`no answer to "ip link show ${NAME}" in ${pod.where}`);
  return parseLinkState(message);
}

function readLink(pod: BlockingNetlink): Link {
  const [message] = pod.run(getLink(NAME));
  if (message === undefined) throw new Error(`no answer to "ip link show ${NAME}" in ${pod.where}`);
  return parseLink(message);
}

/** Returns the addresses that the kernel added when lo came up: 127.0.0.1/8, and ::1/128 if IPv6 is enabled. */
function addressesOf(pod: BlockingNetlink, lo: LinkState): ResultAddress[] {
  return pod.dump(addressDump(undefined, lo.index)).flatMap((message) => {
    const address = parseLinkAddress(message);
    return address === undefined || address.index !== lo.index ? [] : [{ address: address.prefix, interface: 0 }];
  });
}

function describe(request: CniRequest, lo: LinkState, ips: readonly ResultAddress[]): Result {
  return { interfaces: [{ name: NAME, mac: lo.mac, sandbox: request.netnsPath }], ips, routes: [], dns: {} };
}
