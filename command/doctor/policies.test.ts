/** Tests doctor's checks of policies: each of these facts alone causes its finding. */
import { describe, expect, test } from "vitest";
import { NFPROTO } from "../../pkg/netlink/nftables.ts";
import type { PagePolicy, PoliciesPage } from "../node/policies-page.ts";
import {
  policyBridgeFilter,
  policyEngines,
  policyIpvs,
  policyMode,
  policyObjects,
  policySync,
  stalePolicies,
} from "./checks/policies.ts";
import type { Facts, PolicyFacts } from "./facts.ts";
import { findPolicyEngines } from "./gather/policy-engines.ts";

const CHECKS = [policySync, stalePolicies, policyObjects, policyMode, policyBridgeFilter, policyEngines, policyIpvs];

const POLICY: PagePolicy = {
  ...{ kind: "NetworkPolicy", policy: "default/web", tier: "NetworkPolicy", directions: ["ingress"], pods: [] },
  ...{ isAudited: false, allowedPackets: 0, deniedPackets: 0, problems: [] },
};
const COUNTS = {
  ...{ policies: 1, clusterPolicies: 0, namespaces: 3, pods: 40, localPods: 9, isolatedPods: 3 },
  ...{ identities: 12, profiles: 4 },
};
const page = (change: Partial<PoliciesPage> = {}): PoliciesPage => ({
  ...{
    mode: "enforce",
    modeReason: "flag",
    isSynced: true,
    warnings: [],
    counts: COUNTS,
    policies: [POLICY],
    ...change,
  },
});

interface Given extends Partial<PolicyFacts> {
  readonly isAlive?: boolean;
  readonly links?: readonly string[];
  readonly bridged?: boolean;
  readonly settings?: Readonly<Record<string, string>>;
}

/** The facts that the checks read. All is well. */
function facts({ isAlive = true, links = [], bridged = true, settings, ...policies }: Given = {}): Facts {
  const held: Readonly<Record<string, string>> = settings ?? { "net.bridge.bridge-nf-call-iptables": "1" };
  return {
    command: "weft",
    policies: { page: page(), hasTable: true, engines: [], ...policies },
    run: { isAlive },
    families: new Set([4]),
    ends: { ports: new Set(bridged ? ["cni:net/c1/eth0"] : []), routed: new Set() },
    observed: { links: links.map((name) => ({ name })) },
    sysctl: (name: readonly string[]) => held[name.join(".")],
  } as unknown as Facts;
}

const found = (given?: Given) =>
  CHECKS.flatMap((check) => check.judge(facts(given)).map((finding) => ({ check: check.name, ...finding })));

test("finds nothing if policies are enforced, off, or not known", () => {
  expect(found()).toEqual([]);
  const engines = [{ name: "Calico", signs: ["chain ip filter cali-FORWARD"] }];
  expect(found({ page: undefined, hasTable: false, engines, links: ["kube-ipvs0"] })).toEqual([]);
  expect(found({ page: page({ mode: "off" }), hasTable: false, engines, links: ["kube-ipvs0"] })).toEqual([]);
});

test.each<[check: string, severity: string, seen: RegExp, given: Given]>([
  [
    "policy-sync",
    "error",
    /failed to program policies: EPERM/,
    { page: page({ lastSync: { agoMs: 1, durationMs: 1, error: "EPERM" } }) },
  ],
  ["policy-sync", "warning", /waiting for the lists/, { page: page({ isSynced: false }) }],
  ["policy-sync", "warning", /weftd warns about policies: no log/, { page: page({ warnings: ["no log"] }) }],
  ["policy-sync", "error", /the table inet weft-policy is missing/, { hasTable: false }],
  ["stale-policies", "error", /exists, but weftd is not running/, { isAlive: false, page: undefined }],
  ["stale-policies", "error", /exists, but policies are off/, { page: page({ mode: "off" }) }],
  [
    "policy-objects",
    "warning",
    /^default\/web: port 70000/,
    { page: page({ policies: [{ ...POLICY, problems: ["port 70000"] }] }) },
  ],
  ["policy-mode", "note", /has 1 policy, and the mode is audit/, { page: page({ mode: "audit" }) }],
  [
    "policy-bridge-filter",
    "error",
    /bridge-nf-call-iptables is 0/,
    { settings: { "net.bridge.bridge-nf-call-iptables": "0" } },
  ],
  ["policy-bridge-filter", "error", /br_netfilter is not loaded/, { settings: {} }],
  [
    "policy-engines",
    "warning",
    /^Calico enforces .*: chain ip filter cali-FORWARD$/,
    { engines: [{ name: "Calico", signs: ["chain ip filter cali-FORWARD"] }] },
  ],
  ["policy-ipvs", "error", /kube-ipvs0 exists/, { links: ["kube-ipvs0"] }],
])("%s: %s", (check, severity, seen, given) => {
  expect(found(given)).toMatchObject([{ check, severity, seen: expect.stringMatching(seen) }]);
});

describe("finds nothing", () => {
  test.each<[why: string, given: Given]>([
    [
      "without policies, since there is no table then",
      { hasTable: false, page: page({ counts: { ...COUNTS, policies: 0 } }) },
    ],
    ["in the mode audit without policies", { page: page({ mode: "audit", counts: { ...COUNTS, policies: 0 } }) }],
    ["about the table while the mode is not decided", { page: page({ mode: "off", isSynced: false }) }],
    ["about bridges without pods on one", { bridged: false, settings: {} }],
  ])("%s", (_why, given) => {
    expect(found(given)).toEqual([]);
  });
});

test("recognises other policy engines, and none of kube-proxy's or weft's objects", () => {
  const table = (name: string, family: number = NFPROTO.inet) => ({ family, table: name });
  const chain = (name: string, family: number = NFPROTO.ip) => ({ family, table: "filter", chain: name });
  const engines = findPolicyEngines({
    tables: [
      ...["weft-policy", "kube-proxy", "filter", "kube-network-policies", "kindnet-network-policies"].map((name) =>
        table(name),
      ),
      ...[table("kube-router-filter-ipv4", NFPROTO.ip), table("calico", NFPROTO.ip6)],
    ],
    chains: [
      ...["KUBE-FORWARD", "KUBE-SERVICES", "FORWARD", "CNI-FORWARD", "KUBE-POD-FW-ABC", "KUBE-NWPLCY-DEF"],
      ...["cali-FORWARD", "CILIUM_FORWARD", "ANTREA-FORWARD", "WEAVE-NPC-DEFAULT"],
    ].map((name) => chain(name)),
    hasAwsPins: true,
  });
  expect(Object.fromEntries(engines.map(({ name, signs }) => [name, signs]))).toEqual({
    "kube-router": [
      ...["table ip kube-router-filter-ipv4", "chain ip filter KUBE-POD-FW-ABC", "chain ip filter KUBE-NWPLCY-DEF"],
    ],
    Calico: ["table ip6 calico", "chain ip filter cali-FORWARD"],
    Cilium: ["chain ip filter CILIUM_FORWARD"],
    "kube-network-policies": ["table inet kube-network-policies"],
    kindnet: ["table inet kindnet-network-policies"],
    Antrea: ["chain ip filter ANTREA-FORWARD"],
    "Weave Net": ["chain ip filter WEAVE-NPC-DEFAULT"],
    "the AWS network policy agent": ["/sys/fs/bpf/globals/aws/programs"],
  });
});
