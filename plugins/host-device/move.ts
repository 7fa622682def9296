/** Moves a link from the host into the pod and back. Meanwhile its alias is its name on the host. */
import type { AttachContext } from "../../pkg/attachment/interface-plugin.ts";
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { changeLink, type Link, linkDump, moveLink, parseLink } from "../../pkg/kernel/link.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { type BlockingNetlink, openRoute } from "../../pkg/netlink/blocking.ts";
import { isExists } from "../../pkg/netlink/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

/** Valid names of links (dev_valid_name in net/core/dev.c). */
const LINK_NAME = /^(?!\.{1,2}$)[^\s/:]{1,15}$/;

/**
 * Moves the link. The link is down afterwards and has lost its addresses, as the kernel does with every link that
 * changes its namespace.
 */
export function moveIn({ request, namespace, sockets, undo }: AttachContext, { index, name, isUp }: Link): void {
  const { system, ifName } = request;
  undo.push(() => {
    // If the kernel refused only the last part of the move, the link is in the pod under its old name.
    const moved = findLink(sockets.pod, ifName) ?? findLink(sockets.pod, name);
    if (moved === undefined || findLink(sockets.host, name) !== undefined) return;
    moveOut(system, sockets.pod, moved, name);
    if (isUp) sockets.host.run(changeLink(name, { up: true }));
  });
  sockets.host.run(moveLink(index, { namespaceFd: namespace.fd, name: ifName, alias: name }));
}

/**
 * For DEL. A link that is gone was moved back before, or was removed with the container's namespace. A link without an
 * alias was never moved in: it is another plugin's link of the same name.
 */
export function giveBack({ system, ifName }: CniRequest, pod: BlockingNetlink): void {
  const link = findLink(pod, ifName);
  if (link === undefined || !LINK_NAME.test(link.alias)) return;
  moveOut(system, pod, link, link.alias);
}

/**
 * Renames the link while it is still in the pod, so that programs that watch the host's links never see another name.
 * If the pod has a link of that name, the name changes with the move. If anything fails, the link is left unchanged for
 * the next DEL.
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
    const message = `${link.name} in ${pod.where} cannot be moved back to the host, which has another link ${name}; rename that one`;
    throw new CniError(ErrorCode.internal, `${message}: ${error.message}`, { cause: error });
  } finally {
    host.close();
  }
}

/**
 * A physical device outlives its pod's namespace: the kernel moves it to the host, under the name that it had in the
 * pod, or a generated one. If its alias shows that it is the one that `device` names, it gets that name again.
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
