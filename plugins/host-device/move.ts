/** A link's way from the host into the pod and back. Its name on the host stands in its alias while it is away. */
import type { AttachContext } from "../../pkg/attachment/interface-plugin.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { changeLink, type Link, linkDump, moveLink, parseLink } from "../../pkg/kernel/link.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { type BlockingNetlink, openRoute } from "../../pkg/netlink/blocking.ts";
import { isExists } from "../../pkg/netlink/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

/** What may name a link (dev_valid_name in net/core/dev.c). */
const LINK_NAME = /^(?!\.{1,2}$)[^\s/:]{1,15}$/;

/** The link is down afterwards, and has lost its addresses: the kernel does so to what changes its namespace. */
export function moveIn({ request, namespace, sockets, undo }: AttachContext, { index, name, isUp }: Link): void {
  const { system, ifName } = request;
  undo.push(() => {
    // Where the kernel refused only the end of the move, the link is in the pod under its old name.
    const moved = findLink(sockets.pod, ifName) ?? findLink(sockets.pod, name);
    if (moved === undefined || findLink(sockets.host, name) !== undefined) return;
    moveOut(system, sockets.pod, moved, name);
    if (isUp) sockets.host.run(changeLink(name, { up: true }));
  });
  sockets.host.run(moveLink(index, { namespaceFd: namespace.fd, name: ifName, alias: name }));
}

/**
 * DEL. A link that is gone has been given back before, or went with the container's namespace; one without an alias was
 * never moved in, but is another plugin's of the same name.
 */
export function giveBack({ system, ifName }: CniRequest, pod: BlockingNetlink): void {
  const link = findLink(pod, ifName);
  if (link === undefined || !LINK_NAME.test(link.alias)) return;
  moveOut(system, pod, link, link.alias);
}

/**
 * It gets its name while it is still in the pod, so that whoever watches the host's links sees no other; only where the pod
 * has a link of that name does it change on the way. What fails leaves the link as it was, for the next DEL.
 */
function moveOut(system: System, pod: BlockingNetlink, link: Link, name: string): void {
  const { index } = link;
  const host = system.openNamespace();
  try {
    pod.run(changeLink(index, { up: false }));
    const [renamed] = pod.exchange([changeLink(index, { name })]);
    if (renamed?.error !== undefined && !isExists(renamed.error)) throw renamed.error;
    pod.run(moveLink(index, { namespaceFd: host.fd, name, alias: "" }));
  } catch (error) {
    pod.exchange([changeLink(index, { name: link.name }), changeLink(index, { up: link.isUp })]);
    if (!isExists(error)) throw error;
    const message = `${link.name} in ${pod.where} cannot go back to the host: it has another link ${name}; rename that one`;
    throw new CniError(ErrorCode.internal, `${message}: ${error.message}`, { cause: error });
  } finally {
    host.close();
  }
}

/**
 * A physical device outlives its pod's namespace: the kernel puts it back on the host, under the name that it had in the
 * pod, or one of its own choice. By its alias it is the one that `device` names, and it gets that name again.
 */
export function restoreName({ system, config }: CniRequest): void {
  const name = config.value("device");
  if (typeof name !== "string" || !LINK_NAME.test(name)) return;
  const host = openRoute(system);
  try {
    if (findLink(host, name) !== undefined) return;
    const [link, ...others] = host
      .dump(linkDump())
      .map(parseLink)
      .filter(({ alias }) => alias === name);
    if (link === undefined || others.length > 0) return;
    host.run(changeLink(link.index, { up: false }), changeLink(link.index, { name, alias: "" }));
  } finally {
    host.close();
  }
}
