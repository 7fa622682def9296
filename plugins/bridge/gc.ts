/**
 * GC: what this network's attachments left behind and no valid attachment owns: host veths, masquerade entries, and
 * whatever the IPAM plugin keeps. Only objects with our owner mark; one failure does not stop the rest.
 */
import { delegateGc } from "../../pkg/cni/delegate.ts";
import { CniError, ErrorCode, messageOf } from "../../pkg/cni/errors.ts";
import type { Request } from "../../pkg/cni/plugin.ts";
import { deleteLink, linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { isOfNetwork, ownerMark } from "../../pkg/kernel/owner.ts";
import { openRoute } from "../../pkg/netlink/blocking.ts";
import { isGone } from "../../pkg/netlink/errors.ts";
import { ipamType } from "./config.ts";
import { removeMasquerade } from "./masquerade.ts";

export function collectGarbage(request: Request): void {
  const { network } = request;
  const valid = new Set(request.validAttachments.map((attachment) => ownerMark({ network, ...attachment })));
  const isGarbage = (mark: string) => isOfNetwork(mark, network) && !valid.has(mark);
  const ipam = ipamType(request.config);
  const failures = [
    () => removeLinks(request, isGarbage),
    () => removeMasquerade(request.system, isGarbage),
    () => (ipam === undefined ? undefined : delegateGc(request, ipam)),
  ].flatMap((step) => {
    try {
      step();
      return [];
    } catch (error) {
      return [messageOf(error)];
    }
  });
  if (failures.length > 0) throw new CniError(ErrorCode.internal, `GC of ${network}: ${failures.join("; ")}`);
}

function removeLinks(request: Request, isGarbage: (mark: string) => boolean): void {
  const host = openRoute(request.system);
  try {
    const links = host.dump(linkDump()).map(parseLink);
    const garbage = links.filter(({ alias, kind }) => kind === "veth" && isGarbage(alias));
    const refused = host.exchange(garbage.map(({ index }) => deleteLink(index))).flatMap(({ error }) => error ?? []);
    const failed = refused.filter((error) => !isGone(error));
    if (failed.length > 0) throw new Error(failed.map(messageOf).join("; "));
  } finally {
    host.close();
  }
}
