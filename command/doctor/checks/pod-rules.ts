/** Checks the rules of single pods, which another program may remove while the pods run. */

import type { Finding } from "../../../pkg/backend/inspection.ts";
import { describeOwner } from "../../../pkg/kernel/owner.ts";
import type { PodRulePart } from "../../../pkg/tables/pod-rules.ts";
import { CNI_BIN_DIR } from "../../node/options.ts";
import type { Facts } from "../facts.ts";
import type { Check } from "../finding.ts";

/** The effect of missing rules, by part. */
const MEANING: Readonly<Record<PodRulePart, string>> = {
  portmap: "host ports do not answer",
  masquerade: "pods with ipMasq cannot reach addresses outside the cluster",
  macspoofchk: "pods can send from any hardware address",
  firewall: "other programs' chains may drop pods' packets",
  senders: "pods can send from other pods' addresses",
};
const SHOWN = 5;

export const podRules: Check = {
  name: "pod-rules",
  group: "firewall",
  about: "running pods have the rules of portmap, firewall, ipMasq, macspoofchk and guardSenders",
  judge({ podRules: { missing, obstacles, unchecked, unknown }, plugins, command }) {
    const uncheckable = unchecked.map(
      ({ owner, part, reason }): Finding => ({
        severity: "warning",
        seen: `rules of ${describeOwner(owner)} (${part}) cannot be checked: ${reason}`,
        why: "if another program removes these rules, weftd cannot restore them",
        advice: `if ${MEANING[part]}, restart the pod`,
      }),
    );
    const parts = [...new Set([...missing, ...obstacles].map(({ part }) => part))];
    if (parts.length === 0) return uncheckable;
    const why = parts.map((part) => MEANING[part]).join("; ");
    const pods = [...new Set(missing.map(({ owner }) => owner))].map((owner) => {
      const own = missing.filter((each) => each.owner === owner).map(({ part }) => part);
      return `${describeOwner(owner)} (${own.join(", ")})`;
    });
    return [
      ...(pods.length === 0
        ? []
        : [
            {
              severity: "error" as const,
              seen: `another program removed rules of running pods: ${listText(pods)}`,
              why,
              run: [command, "restore", ...placeOf(plugins)].join(" "),
            },
          ]),
      ...obstacles.map(
        ({ owner, part, reason }): Finding => ({
          severity: "error",
          seen: `rules of ${describeOwner(owner)} (${part}) are missing, and cannot be restored: ${reason}`,
          why: MEANING[part],
          advice: "restart the pod",
        }),
      ),
      ...uncheckable,
      ...(unknown.length === 0
        ? []
        : [
            {
              severity: "warning" as const,
              seen: `the runtime has no cached result for ${listText(unknown.map(describeOwner))}`,
              why: "if another program removed rules of these pods, too, they cannot be determined",
              advice: "restart these pods if they use host ports, ipMasq, macspoofchk, guardSenders or firewall",
            },
          ]),
    ];
  },
};

/** Makes the command use the same directory as doctor. */
function placeOf({ directory }: Facts["plugins"]): string[] {
  return directory === CNI_BIN_DIR.default ? [] : ["--cni-bin-dir", directory];
}

function listText(items: readonly string[]): string {
  const others = items.length > SHOWN ? `; and ${items.length - SHOWN} more` : "";
  return items.slice(0, SHOWN).join("; ") + others;
}
