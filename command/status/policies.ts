/** The line about policies. Pure. */
import type { PoliciesPage } from "../node/policies-page.ts";
import type { Cell } from "../outcome.ts";

export type PolicySummary = Pick<PoliciesPage, "mode"> &
  Pick<PoliciesPage["counts"], "policies" | "clusterPolicies" | "localPods" | "isolatedPods">;

/** "enforce, 4 policies, 3 of 9 pods isolated" */
export function policiesText({ mode, policies, clusterPolicies, localPods, isolatedPods }: PolicySummary): Cell {
  if (mode === "off") return { text: "off", tone: "quiet" };
  const count = policies + clusterPolicies;
  const text = `${mode}, ${count === 1 ? "1 policy" : `${count} policies`}, ${isolatedPods} of ${localPods} pods isolated`;
  return mode === "audit" && count > 0 ? { text: `${text}; denied packets pass`, tone: "warning" } : text;
}
