/** Checks of NetworkPolicies: weftd's table is in force, and no other program prevents it. */
import type { Finding } from "../../../pkg/backend/inspection.ts";
import { BRIDGE_CALLS, POLICY_TABLE } from "../../../pkg/footprint.ts";
import type { Facts } from "../facts.ts";
import type { Check } from "../finding.ts";
import { wrong } from "./kernel.ts";
import { syncFindings } from "./sync.ts";

const TABLE = `inet ${POLICY_TABLE}`;
/** The number of objects that one finding lists. */
const NAMED = 5;
/** The device to which kube-proxy in IPVS mode adds all ClusterIPs. */
const IPVS_DEVICE = "kube-ipvs0";

export const policySync: Check = {
  name: "policy-sync",
  group: "policies",
  about: `the table ${TABLE} is in the kernel and up to date`,
  judge({ policies }) {
    const page = active(policies);
    if (page === undefined) return [];
    const { findings, isComplete } = syncFindings(page, {
      subject: "policies",
      why: "pods may be reachable that policies isolate, and the reverse",
      waiting: {
        seen: "weftd is waiting for the lists of policies, Namespaces and Pods",
        why: "weftd has programmed no policies since it started; those of an earlier weftd stay in force",
        advice: "check that weftd can reach the API server, and that it may list these objects",
      },
    });
    const { counts } = page;
    if (!isComplete || policies.hasTable || counts.policies + counts.clusterPolicies === 0) return findings;
    return [
      {
        severity: page.mode === "enforce" ? "error" : "warning",
        seen: `the table ${TABLE} is missing`,
        why: page.mode === "enforce" ? "no policy is enforced here" : "no denied packet is counted or logged",
        advice: "restart weftd",
      },
      ...findings,
    ];
  },
};

export const stalePolicies: Check = {
  name: "stale-policies",
  group: "policies",
  about: `the table ${TABLE} is kept up to date by a running weftd`,
  judge({ policies: { page, hasTable }, run }) {
    const state = !run.isAlive ? "weftd is not running" : isOff(page) ? "policies are off" : "";
    if (!hasTable || state === "") return [];
    return [
      {
        severity: "error",
        seen: `the table ${TABLE} exists, but ${state}`,
        why: "the table denies by the policies and the pods' addresses of the past",
        run: `nft delete table ${TABLE}`,
        advice: run.isAlive
          ? "or restart weftd, which removes the table"
          : "only if weftd should not run here any more; otherwise start weftd, which adopts the table",
      },
    ];
  },
};

export const policyObjects: Check = {
  name: "policy-objects",
  group: "policies",
  about: "weftd can read every part of every policy",
  judge({ policies, command }) {
    const problems = (active(policies)?.policies ?? []).flatMap(({ policy, problems: told }) =>
      told.map((problem) => `${policy}: ${problem}`),
    );
    if (problems.length === 0) return [];
    const rest = problems.length > NAMED ? `; and ${problems.length - NAMED} more` : "";
    return [
      {
        severity: "warning",
        seen: `${problems.slice(0, NAMED).join("; ")}${rest}`,
        why: "these parts allow nothing, and isolation stays",
        run: `${command} policies`,
        advice: "correct the policies",
      },
    ];
  },
};

export const policyMode: Check = {
  name: "policy-mode",
  group: "policies",
  about: "policies are enforced, not only audited, if there are any",
  judge({ policies, command }) {
    const page = active(policies);
    const count = (page?.counts.policies ?? 0) + (page?.counts.clusterPolicies ?? 0);
    if (page?.mode !== "audit" || count === 0) return [];
    return [
      {
        severity: "note",
        seen: `the cluster has ${count === 1 ? "1 policy" : `${count} policies`}, and the mode is audit`,
        why: "denied packets are counted and logged, but pass",
        run: `${command} policies --preview`,
        advice:
          "if the preview shows no connection that should pass, set --network-policy=enforce (the chart's networkPolicy.mode)",
      },
    ];
  },
};

export const policyBridgeFilter: Check = {
  name: "policy-bridge-filter",
  group: "policies",
  about: "policies apply between pods on the same bridge (bridge-nf-call-*)",
  judge({ policies, families, ends, sysctl }) {
    if (active(policies)?.mode !== "enforce" || ends.ports.size === 0) return [];
    return [...families].flatMap((family): Finding[] => {
      const name = BRIDGE_CALLS[family];
      const value = sysctl(name);
      const why = "frames between two pods on the bridge pass no rules, so policies do not apply to them";
      if (value === "1") return [];
      return value === undefined
        ? [
            {
              severity: "error",
              seen: "the kernel module br_netfilter is not loaded",
              why,
              run: "modprobe br_netfilter",
            },
          ]
        : [wrong(name, value, "1", why)];
    });
  },
};

export const policyEngines: Check = {
  name: "policy-engines",
  group: "policies",
  about: "no other program enforces NetworkPolicies on this node",
  judge({ policies }) {
    const page = active(policies);
    if (page === undefined) return [];
    return policies.engines.map(({ name, signs }): Finding => {
      const rest = signs.length > NAMED ? ` and ${signs.length - NAMED} more` : "";
      return {
        severity: "warning",
        seen: `${name} enforces NetworkPolicies here, or has left rules: ${signs.slice(0, NAMED).join(", ")}${rest}`,
        why: "a packet passes only if both programs allow it, and left rules deny by old policies",
        advice: `remove ${name} and its rules from this node (the check left-chains prints commands for some; a restart of the node removes all rules), or start weftd with --network-policy=off`,
      };
    });
  },
};

export const policyIpvs: Check = {
  name: "policy-ipvs",
  group: "policies",
  about: "kube-proxy does not use IPVS while weftd enforces policies",
  judge({ policies, observed }) {
    const page = active(policies);
    if (page === undefined || !observed.links.some(({ name }) => name === IPVS_DEVICE)) return [];
    return [
      {
        severity: page.mode === "enforce" ? "error" : "warning",
        seen: `the device ${IPVS_DEVICE} exists: kube-proxy uses IPVS, and the mode of policies is ${page.mode}`,
        why: "IPVS takes connections to Services past the hook forward: egress is judged with the ClusterIP, and ingress of an endpoint on this node is not judged",
        advice:
          "use kube-proxy with --proxy-mode nftables or iptables, or weftd's --service-proxy nftables; otherwise start weftd with --network-policy=off",
      },
    ];
  },
};

/** False while weftd has not decided the mode: it reports the mode off then, and is not synced. */
function isOff(page: Facts["policies"]["page"]): boolean {
  return page?.mode === "off" && page.isSynced;
}

/** Returns weftd's report, unless policies are off. */
function active({ page }: Facts["policies"]) {
  return page?.mode === "off" ? undefined : page;
}
