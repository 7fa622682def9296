/** Tests weft policies with weftd's reports, and with a kernel that has or lacks weftd's table. */
import { describe, expect, test } from "vitest";
import { POLICY_TABLE } from "../../pkg/footprint.ts";
import { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { NETLINK_NETFILTER } from "../../pkg/netlink/message.ts";
import { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { createTable } from "../../pkg/nft/table.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import { weft, weftdSaying } from "../../test/services/command-bed.ts";
import type { PageFlow, PagePolicy, PoliciesPage, PreviewPage } from "../node/policies-page.ts";

const policy = (name: string, change: Partial<PagePolicy> = {}): PagePolicy => ({
  ...{ kind: "NetworkPolicy", policy: name, tier: "NetworkPolicy", directions: ["ingress"], pods: [] },
  ...{ isAudited: false, allowedPackets: 0, deniedPackets: 0, problems: [], ...change },
});
const DB = policy("team/db", { pods: ["team/db-0", "team/db-1"], allowedPackets: 12, deniedPackets: 3 });
const WEB = policy("default/web", { directions: ["ingress", "egress"], pods: ["default/web-0"], isAudited: true });
const IDLE = policy("default/idle");
const QUARANTINE = policy("quarantine", {
  ...{ kind: "ClusterNetworkPolicy", tier: "Admin", priority: 10, pods: ["team/db-0"], deniedPackets: 1 },
});
const BROKEN = policy("default/broken", { problems: ["spec.ingress[0].ports[0].port: 70000 is not a port"] });

function page(change: Partial<PoliciesPage> = {}): PoliciesPage {
  return {
    ...{ mode: "enforce", modeReason: "flag", isSynced: true, warnings: [] },
    counts: {
      ...{ policies: 4, clusterPolicies: 1, namespaces: 3, pods: 40, localPods: 9, isolatedPods: 3 },
      ...{ identities: 12, profiles: 4 },
    },
    lastSync: { agoMs: 2000, durationMs: 0.4 },
    policies: [QUARANTINE, WEB, IDLE, DB],
    ...change,
  };
}

/** nf_tables with or without weftd's table. */
function kernel({ hasTable }: { readonly hasTable: boolean }) {
  const nftables = new FakeNftables();
  const answer = (datagram: Uint8Array) => nftables.answer(datagram, 1);
  if (hasTable) {
    const system = new FakeSystem({ netlink: answer });
    const netlink = new BlockingNetlink(system.openNetlink(NETLINK_NETFILTER), "the fake");
    netlink.commit(createTable({ family: "inet", name: POLICY_TABLE, comment: "", sets: [], chains: [] }));
    netlink.close();
  }
  return answer;
}

const asked = (words: string, answer: object, state = 200) =>
  weft(words, { netlink: kernel({ hasTable: true }), tcpServers: weftdSaying(() => answer, state) });
const show = (words = "policies", change: Partial<PoliciesPage> = {}) => asked(words, page(change));

test("shows the mode, and for each policy its pods and packets", () => {
  const { status, output } = show();
  expect(output).toMatchInlineSnapshot(`
    "MODE        enforce
    effect      denied packets are dropped
    decided by  --network-policy
    policies    4 NetworkPolicies and 1 ClusterNetworkPolicy in the cluster
    pods        3 of 9 on this node are isolated
    state       in sync, last 2s ago

    POLICY        TIER           DIRECTIONS       PODS HERE  ALLOWED  DENIED
    quarantine    Admin 10       ingress          1          0        1
    default/web   NetworkPolicy  ingress, egress  1          0        0       audit: denied packets pass
    default/idle  NetworkPolicy  ingress          0          -        -
    team/db       NetworkPolicy  ingress          2          12       3
    "
  `);
  expect(status).toBe(0);
});

test("shows one policy with its pods, one namespace, or a ClusterNetworkPolicy", () => {
  const { output } = show("policies team/db");
  expect(output).toMatch(/team\/db-1/);
  expect(output).not.toContain("default/");
  expect(show("policies db -n team").output).toBe(output);
  expect(show("policies -n default").output).not.toContain("team/db");
  expect(show("policies quarantine").output).toMatch(/quarantine +Admin 10 /);
  expect(show("policies --pods").output).toContain("default/web-0");
});

test("prints the same as JSON", () => {
  const { status, output } = show("policies -n team -o json");
  expect(status).toBe(0);
  expect(JSON.parse(output)).toEqual({ source: "weftd", ...page(), policies: [DB] });
});

test("lists unreadable parts and warnings, with exit status 4", () => {
  const broken = show("policies", { policies: [BROKEN] });
  expect(broken.output).toContain("spec.ingress[0].ports[0].port: 70000 is not a port");
  expect(broken.status).toBe(4);
  const warned = show("policies", { warnings: ["the kernel lacks nfnetlink_log"] });
  expect(warned.output).toMatch(/^warning +the kernel lacks nfnetlink_log$/m);
  expect(warned.status).toBe(4);
});

test.each([
  [{ isSynced: false }, /waiting for the first lists/],
  [{ lastSync: { agoMs: 3000, durationMs: 1, error: "EPERM" } }, /the last sync failed 3s ago: EPERM/],
])("exits with status 5 if weftd does not update the table: %j", (change, words) => {
  const { status, output } = show("policies", change);
  expect(output).toMatch(words);
  expect(status).toBe(5);
});

test("says so if policies are off", () => {
  const { status, output } = show("policies", { mode: "off", policies: [] });
  expect(output).toBe("MODE        off\neffect      weftd ignores policies\ndecided by  --network-policy\n");
  expect(status).toBe(0);
});

test("says so if weftd has not decided the mode", () => {
  const modeReason = "the Nodes are not listed yet";
  const { status, output } = show("policies", { mode: "off", modeReason, policies: [], isSynced: false });
  expect(output).toMatch(/^effect +weftd has not decided the mode yet\ndecided by +the Nodes are not listed yet$/m);
  expect(status).toBe(5);
});

describe("without weftd's report", () => {
  const silent = (hasTable: boolean) => weft("policies", { netlink: kernel({ hasTable }) });

  test("says that the kernel keeps the last state", () => {
    const { status, output } = silent(true);
    expect(output).toMatch(
      /^weftd does not answer \(.*\(ECONNREFUSED\)\)\. The kernel's table inet weft-policy stays in force/,
    );
    expect(status).toBe(5);
  });

  test("says that nothing is enforced without the table", () => {
    const { status, output } = silent(false);
    expect(output).toMatch(/There is no table inet weft-policy, so this node enforces no policy\.\n$/);
    expect(status).toBe(5);
  });

  test("says that weftd is older, with exit status 4", () => {
    const { status, output } = weft("policies", {
      ...{ netlink: kernel({ hasTable: false }), tcpServers: weftdSaying(() => ({}), 404) },
    });
    expect(output).toMatch(/^this weftd has no report of policies: it is older than this command/);
    expect(status).toBe(4);
    expect(asked("policies --preview", {}, 404)).toMatchObject({ status: 1, output: "" });
  });
});

describe("--preview", () => {
  const flow = (change: Partial<PageFlow> = {}): PageFlow => ({
    ...{ protocol: "TCP", from: "10.244.2.7", fromPod: "default/client", to: "10.244.1.5", toPod: "team/db-0" },
    ...{ port: 5432, flows: 2 },
    deniedBy: {
      ...{ direction: "ingress", pod: "team/db-0", verdict: "deny", isAudited: false, tier: "NetworkPolicy" },
      ...{ policies: ["team/db"], isByRule: false },
    },
    ...change,
  });
  const { toPod: _, ...PING } = flow({
    ...{ protocol: "ICMP", port: 0, flows: 1, from: "10.244.1.5", fromPod: "team/db-0", to: "203.0.113.9" },
    deniedBy: {
      ...{ direction: "egress", pod: "team/db-0", verdict: "deny", isAudited: true, tier: "Admin" },
      ...{ policies: ["quarantine"], isByRule: true },
    },
  });
  const preview = (words: string, change: Partial<PreviewPage> = {}) =>
    asked(words, { mode: "audit", flows: 120, denied: [flow(), PING], ...change });

  test("lists flows that policies would deny, with the side, the tier and the policy", () => {
    const { status, output } = preview("policies --preview");
    expect(output).toMatchInlineSnapshot(`
      "FROM                         TO                      PORT      FLOWS  DENIED BY
      default/client (10.244.2.7)  team/db-0 (10.244.1.5)  5432/tcp  2      ingress of team/db-0: NetworkPolicy team/db, no rule of which matches
      team/db-0 (10.244.1.5)       203.0.113.9             icmp      1      egress of team/db-0: tier Admin: quarantine; its Namespace is in audit mode

      Policies would deny 3 of this node's 120 connections if they began now. The mode is audit, so they pass.
      "
    `);
    expect(status).toBe(4);
  });

  test("shows the flows of one policy or namespace", () => {
    expect(preview("policies --preview quarantine").output).toMatch(
      /^FROM.*\nteam\/db-0 .*\n\nPolicies would deny 1 of/,
    );
    expect(preview("policies --preview -n default").output).not.toContain("203.0.113.9");
  });

  test("reports that nothing would be denied, and prints JSON", () => {
    const nothing = preview("policies --preview", { denied: [] });
    expect(nothing).toMatchObject({ status: 0, output: "Policies would deny none of this node's 120 connections.\n" });
    const { output } = preview("policies --preview -o json");
    expect(JSON.parse(output)).toMatchObject({
      mode: "audit",
      flows: 120,
      deniedFlows: 3,
      denied: [{ port: 5432 }, {}],
    });
  });

  test("fails if weftd does not answer", () => {
    const { status, errorOutput } = weft("policies --preview", { netlink: kernel({ hasTable: true }) });
    expect(status).toBe(1);
    expect(errorOutput).toMatch(/weftd does not answer/);
  });
});

test("rejects words that are not a policy's name", () => {
  expect(show("policies a/b/c")).toMatchObject({ status: 2, output: "" });
  expect(show("policies default/none")).toMatchObject({
    status: 1,
    errorOutput: expect.stringContaining("weftd has no policy default/none"),
  });
});
