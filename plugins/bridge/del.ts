/** DEL and GC: removes the objects of every veth pair, and entries of the table of guarded ports. */
import { collect, detach } from "../../pkg/attachment/detach.ts";
import { ownSender, removeSenders } from "../../pkg/attachment/senders.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { ownGuard, removeGuards } from "./mac-guard.ts";

export function del(request: CniRequest): void {
  const isSet = (key: string) => request.config.value(key) === true;
  detach(request, {
    isMasqueraded: isSet("ipMasq"),
    legacy: [
      ...(isSet("ipMasq") ? ["masquerade" as const] : []),
      ...(isSet("macspoofchk") ? ["spoof-check" as const] : []),
    ],
    elements: [
      ...(isSet("macspoofchk") ? [ownGuard(request)] : []),
      ...(isSet("guardSenders") ? [ownSender(request, "bridge")] : []),
    ],
  });
}

export function gc(request: CniRequest): void {
  collect(request, {
    legacy: ["masquerade"],
    remove(isGarbage) {
      removeGuards(request.system, isGarbage);
      removeSenders(request.system, isGarbage);
    },
  });
}
