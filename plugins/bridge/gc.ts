/**
 * GC: what this network's attachments left behind and no valid attachment owns: host veths, entries in nf_tables,
 * and whatever the IPAM plugin keeps. Only objects with our owner mark; one failure does not stop the rest.
 */
import { collectGarbage } from "../../pkg/attachment/garbage.ts";
import { ipamType } from "../../pkg/attachment/ipam.ts";
import { removeLegacyGarbage } from "../../pkg/attachment/legacy.ts";
import { removeHostLinks } from "../../pkg/attachment/links.ts";
import { removeMasquerade } from "../../pkg/attachment/masquerade.ts";
import { garbageOf } from "../../pkg/attachment/owner.ts";
import { delegateGc } from "../../pkg/cni/delegate.ts";
import type { Request } from "../../pkg/cni/plugin.ts";
import { removeGuards } from "./mac-guard.ts";

export function gc(request: Request): void {
  const isGarbage = garbageOf(request);
  const ipam = ipamType(request.config);
  collectGarbage(request, [
    () => removeHostLinks(request.system, ({ alias, kind }) => kind === "veth" && isGarbage(alias)),
    () => removeMasquerade(request.system, isGarbage),
    () => removeGuards(request.system, isGarbage),
    () => removeLegacyGarbage(request, ["masquerade"]),
    () => (ipam === undefined ? undefined : delegateGc(request, ipam)),
  ]);
}
