/** Tests what explain says about policies: weftd's judgement, the kernel's rules, and differences between the two. */
import { describe, expect, test } from "vitest";
import { parseNodeTable } from "../../pkg/backend/node-table.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import type { ObservedRoute } from "../../pkg/kernel/route.ts";
import { NF_INET_HOOK, NFPROTO, VERDICT } from "../../pkg/netlink/nftables.ts";
import { attachmentOf } from "../node/networks.ts";
import { podKinds } from "../node/pod-kinds.ts";
import type { JudgementPage, JudgementQuestion, PageSide } from "../node/policies-page.ts";
import type { Knowledge } from "./knowledge.ts";
import { followWay } from "./way.ts";

const POD = parseAddress("10.244.1.5");
const NEIGHBOUR = parseAddress("10.244.1.6");
const REMOTE = parseAddress("10.244.2.7");

const TABLE = parseNodeTable(
  new TextEncoder().encode(
    JSON.stringify({
      ...{ format: 1, bootId: "boot", generation: 1, vtepMacs: {} },
      netConf: JSON.stringify({ Network: "10.244.0.0/16", Backend: { Type: "host-gw" } }),
      node: {
        ...{ name: "n1", subnets: ["10.244.1.0/24"] },
        underlay: { index: 2, mtu: 1500, local: ["192.0.2.1"], networks: ["192.0.2.1/24"] },
      },
      peers: [{ name: "n2", subnets: ["10.244.2.0/24"], addresses: ["192.0.2.2"], backendType: "host-gw" }],
    }),
  ),
);

const link = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  ...{ index, name, mtu: 1500, mac: "", isUp: true, isPromiscuous: false, isAllMulticast: false, txQueueLength: 0 },
  ...{ isOperational: true, kind: "", masterIndex: 0, peerIndex: 0, alias: "", vxlan: undefined, bridge: undefined },
  ...{ port: undefined, ...more },
});
const LINKS = [
  link(2, "eth0"),
  link(3, "cni0", { kind: "bridge" }),
  link(4, "veth1", { kind: "veth", masterIndex: 3, alias: "cni:cbr0/c1/eth0" }),
];
const route = (outputIndex: number): ObservedRoute => ({
  destination: { address: REMOTE, length: 32 },
  ...{ gateway: parseAddress("192.0.2.2"), outputIndex, protocol: 119, table: 254, scope: 0, type: 1 },
  isMultipath: false,
});

const side = (change: Partial<PageSide> = {}): PageSide => ({
  ...{ direction: "egress", pod: "default/web", verdict: "allow", isAudited: false, tier: "NetworkPolicy" },
  ...{ policies: ["default/allow"], isByRule: true, ...change },
});
const DENIED = side({ verdict: "deny", policies: ["default/deny-all"], isByRule: false });
const INGRESS = side({ direction: "ingress", pod: "team/db", policies: ["team/db"] });

interface Given {
  readonly page?: JudgementPage;
  readonly silent?: string;
  /** The statement of the only rule of inet weft-policy. Undefined if there is no table. */
  readonly kernel?: "drop" | "return" | undefined;
  readonly filtersBridged?: boolean;
}

function knowledge({ page, silent, kernel, filtersBridged = false }: Given, asked: JudgementQuestion[]): Knowledge {
  const observed = { links: LINKS, addresses: [], routes: [], neighbours: [], forwarding: [] };
  const base = {
    ...{ family: NFPROTO.inet, table: "weft-policy", chain: "forward", hook: NF_INET_HOOK.forward, policy: 1 },
    ...{ priority: 10, type: "filter", comment: undefined, use: 1 },
  };
  const rule = {
    ...{ ...base, handle: 7n },
    expressions: [
      {
        kind: "immediate" as const,
        data: { dreg: 0, data: { verdict: { code: kernel === "drop" ? VERDICT.drop : VERDICT.return } } },
      },
    ],
  };
  return {
    ...{ table: TABLE, desired: undefined, ...podKinds(attachmentOf(undefined), observed), legacy: [] },
    ...{ observed, missingAnswer: () => undefined, services: undefined },
    judge: (question) => {
      asked.push(question);
      if (silent !== undefined) return { is: "silent", reason: silent };
      return page === undefined ? { is: "absent" } : { is: "answered", page };
    },
    filtersBridged: () => filtersBridged,
    ruleset: { bases: kernel === undefined ? [] : [base], rulesOf: () => [rule], elementsOf: () => undefined },
    reservationOf: ({ value }) =>
      value === REMOTE.value ? undefined : { containerId: "c1", ifName: "eth0", namespace: undefined },
    routeTo: (destination) => route(destination.value === REMOTE.value ? 2 : 3),
  };
}

const toRemote = { destination: REMOTE, source: POD, protocol: 6, port: 5432 };
const fromRemote = { destination: POD, source: REMOTE, protocol: 6, port: 80 };
const bridged = { destination: NEIGHBOUR, source: POD, protocol: 6, port: 80 };

function explained(question: Parameters<typeof followWay>[0], given: Given) {
  const asked: JudgementQuestion[] = [];
  const { hops, judgement } = followWay(question, knowledge(given, asked));
  return { hops, judgement, asked, last: hops.at(-1), policy: hops.filter(({ at }) => at === "policy") };
}

test("names the policies of both sides, if they allow the connection", () => {
  const page: JudgementPage = { mode: "enforce", egress: side(), ingress: INGRESS };
  const { policy, asked, judgement, last } = explained(toRemote, { page, kernel: "return" });
  expect(policy.map(({ state, text, show }) => ({ state, text, show }))).toEqual([
    {
      ...{ state: "goes", text: "egress of default/web: allowed by NetworkPolicy default/allow" },
      show: "weft policies default/allow",
    },
    {
      ...{ state: "goes", text: "ingress of team/db: allowed by NetworkPolicy team/db" },
      show: "weft policies team/db",
    },
  ]);
  expect(last).toMatchObject({ at: "leaves", state: "arrives" });
  expect(asked).toEqual([{ from: POD, to: REMOTE, protocol: "TCP", port: 5432 }]);
  expect(judgement).toEqual(page);
});

test("says that a pod without policies is not isolated", () => {
  const { tier: _, ...open } = side({ policies: [], isByRule: false });
  const { policy } = explained(toRemote, { page: { mode: "enforce", egress: open } });
  expect(policy.map(({ text }) => text)).toEqual(["egress of default/web: allowed, since no policy isolates it"]);
});

test("a denied connection ends at the kernel's rule, with the policy and the side", () => {
  const { last } = explained(toRemote, { page: { mode: "enforce", egress: DENIED }, kernel: "drop" });
  expect(last).toMatchObject({
    ...{ at: "forward", state: "ends" },
    text: "dropped by policy, egress of default/web: denied by NetworkPolicy default/deny-all, no rule of which matches: the rule of inet weft-policy forward (handle 7) drops it",
    remedy: "kubectl -n default describe networkpolicy deny-all",
  });
});

test.each([
  ["the source", fromRemote, { egress: DENIED }, "the node of default/web drops it"],
  [
    "the destination",
    toRemote,
    { egress: side(), ingress: side({ ...INGRESS, verdict: "deny" }) },
    "the node of team/db",
  ],
])("a connection that the node of %s denies ends there", (_what, question, sides, text) => {
  const { last } = explained(question, { page: { mode: "enforce", ...sides }, kernel: "return" });
  expect(last).toMatchObject({ at: "policy", state: "ends", text: expect.stringContaining(text) });
});

test("names the tier of a ClusterNetworkPolicy", () => {
  const denied = side({ verdict: "deny", tier: "Admin", policies: ["quarantine"] });
  const { last } = explained(toRemote, { page: { mode: "enforce", egress: denied }, kernel: "drop" });
  expect(last?.text).toContain("egress of default/web: denied by tier Admin: quarantine:");
  expect(last?.remedy).toBe("kubectl describe clusternetworkpolicy quarantine");
});

test.each([
  ["the mode is audit", { mode: "audit", egress: DENIED }],
  ["its Namespace is in audit mode", { mode: "enforce", egress: { ...DENIED, isAudited: true } }],
] as const)("a denied connection passes if %s", (why, page) => {
  const { last, policy } = explained(toRemote, { page, kernel: "return" });
  expect(policy[0]).toMatchObject({ state: "note", text: expect.stringContaining(`but it passes: ${why}`) });
  expect(last).toMatchObject({ at: "leaves", state: "arrives" });
});

describe("differences between weftd and the kernel", () => {
  test("reports a denied connection that the kernel lets pass", () => {
    const { last } = explained(toRemote, { page: { mode: "enforce", egress: DENIED }, kernel: "return" });
    expect(last).toMatchObject({ at: "compared", state: "astray", text: expect.stringContaining("lets it pass") });
  });

  test("reports an allowed connection that the kernel drops", () => {
    const { last } = explained(toRemote, { page: { mode: "enforce", egress: side() }, kernel: "drop" });
    expect(last).toMatchObject({
      at: "compared",
      state: "astray",
      text: expect.stringContaining("the kernel drops it"),
    });
  });
});

describe("pods on one bridge", () => {
  const page: JudgementPage = { mode: "enforce", egress: DENIED };

  test("pass the rules of IP if br_netfilter is on", () => {
    const { last } = explained(bridged, { page, kernel: "drop", filtersBridged: true });
    expect(last).toMatchObject({ at: "forward", state: "ends", text: expect.stringMatching(/^dropped by policy/) });
  });

  test("pass no rules without br_netfilter, which is reported", () => {
    const { last } = explained(bridged, { page, kernel: "drop" });
    expect(last).toMatchObject({
      ...{ at: "compared", state: "astray", remedy: "sysctl -w net.bridge.bridge-nf-call-iptables=1" },
      text: expect.stringMatching(/frames on the bridge pass no rules/),
    });
  });
});

describe("without a judgement", () => {
  test("says what cannot be told if weftd does not answer", () => {
    const { policy, last } = explained(toRemote, { silent: "weftd is not running", kernel: "drop" });
    expect(policy.map(({ text }) => text)).toEqual([
      "weftd does not answer (weftd is not running), so policies cannot be named, and those of pods on other nodes are not known; the kernel's table inet weft-policy decides here",
    ]);
    expect(last?.text).toBe("dropped by policy: the rule of inet weft-policy forward (handle 7) drops it");
  });

  test("asks for a port, and asks weftd nothing", () => {
    const { policy, asked } = explained({ ...toRemote, protocol: undefined, port: undefined }, { kernel: "return" });
    expect(policy.map(({ text }) => text)).toEqual(["policies decide by the port; give IP:PORT, or --protocol icmp"]);
    expect(asked).toEqual([]);
  });

  test("asks about ICMP without a port, and about other protocols by their number", () => {
    expect(explained({ ...toRemote, protocol: 1, port: undefined }, {}).asked).toMatchObject([
      { protocol: "1", port: 0 },
    ]);
    expect(explained({ ...toRemote, protocol: 132 }, {}).asked).toMatchObject([{ protocol: "SCTP", port: 5432 }]);
  });

  test("says nothing if policies are off, or weftd has none", () => {
    expect(explained(toRemote, { page: { mode: "off" } })).toMatchObject({ policy: [], judgement: undefined });
    expect(explained(toRemote, {}).policy).toEqual([]);
  });

  test("does not ask about this node's own packets to its pods, which always pass", () => {
    const own = { destination: POD, source: undefined, protocol: 6, port: 80 };
    expect(explained(own, { page: { mode: "enforce", ingress: DENIED } }).asked).toEqual([]);
  });
});
