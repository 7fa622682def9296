import { describe, expect, it } from "vitest";
import { isSameAddress, parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { Frontend } from "./frontend.ts";
import { type Outcome, outcomeOf } from "./outcome.ts";

const NODE = parseAddress("192.0.2.10");
const LOCAL = { address: parseAddress("10.244.1.5"), port: 8080, isLocal: true };
const REMOTE = { address: parseAddress("10.244.2.5"), port: 8080, isLocal: false };

const frontend = (fields: Partial<Frontend>): Frontend => ({
  ...{ kind: "ClusterIP", address: parseAddress("10.96.0.10"), protocol: 6, port: 80, service: "default/web" },
  ...{ portName: "http", policy: "internal", endpoints: [LOCAL, REMOTE], localEndpoints: [] },
  ...{ withoutEndpoint: undefined, allowedSources: undefined, affinity: undefined, ...fields },
});

interface To {
  readonly port?: number;
  readonly protocol?: number;
  readonly to?: string;
  readonly masqueradeAll?: boolean;
}

function ask(
  frontends: readonly Frontend[],
  from: string,
  { port = 80, protocol = 6, to = "10.96.0.10", ...set }: To = {},
) {
  return outcomeOf({ source: parseAddress(from), destination: parseAddress(to), protocol, port }, frontends, {
    settings: {
      localPods: [parsePrefix("10.244.1.0/24")],
      serviceRanges: [parsePrefix("10.96.0.0/16")],
      masqueradeAll: set.masqueradeAll ?? false,
      masqueradeBit: 14,
    },
    isOwnAddress: (address) => isSameAddress(address, NODE),
  });
}

const masquerades = (outcome: Outcome) =>
  outcome.verdict === "endpoints" ? outcome.choices.map(({ masquerade }) => masquerade) : outcome.verdict;

describe("a ClusterIP", () => {
  it("does not masquerade pods of this node, except a pod that connects to itself", () => {
    expect(masquerades(ask([frontend({})], "10.244.1.9"))).toEqual([undefined, undefined]);
    expect(masquerades(ask([frontend({})], "10.244.1.5"))).toEqual(["the endpoint is the client itself", undefined]);
  });

  it("masquerades other sources, and everything with masqueradeAll", () => {
    const other = "10.244.2.9 is not a pod of this node";
    expect(masquerades(ask([frontend({})], "10.244.2.9"))).toEqual([other, other]);
    const all = "all connections to ClusterIPs are masqueraded";
    expect(masquerades(ask([frontend({})], "10.244.1.9", { masqueradeAll: true }))).toEqual([all, all]);
  });

  it("rejects other ports, other protocols and ICMP", () => {
    const reason = "10.96.0.10 is the ClusterIP of default/web, which has no such port";
    for (const to of [{ port: 81 }, { protocol: 17 }, { protocol: 1, port: 0 }]) {
      expect(ask([frontend({})], "10.244.1.9", to)).toEqual({ verdict: "reject", frontend: undefined, reason });
    }
  });

  it("without an endpoint has the core's verdict, and a reason", () => {
    const bare = { endpoints: [] };
    expect(ask([frontend({ ...bare, withoutEndpoint: "reject" })], "10.244.1.9")).toMatchObject({
      verdict: "reject",
      reason: "default/web has no usable endpoint",
    });
    expect(ask([frontend({ ...bare, withoutEndpoint: "drop" })], "10.244.1.9")).toMatchObject({
      verdict: "drop",
      reason: "default/web has no usable endpoint on this node, and its traffic policy is Local",
    });
  });
});

describe("an external frontend of policy Local", () => {
  const local = frontend({ kind: "NodePort", address: NODE, policy: "local", localEndpoints: [LOCAL] });
  const at = { to: "192.0.2.10" };

  it("sends external clients to local endpoints, and pods and the node to all endpoints", () => {
    const chosen = (from: string) => {
      const outcome = ask([local], from, at);
      return outcome.verdict === "endpoints" && outcome.choices.map(({ endpoint }) => endpoint);
    };
    expect(chosen("203.0.113.1")).toEqual([LOCAL]);
    expect(chosen("10.244.1.9")).toEqual([LOCAL, REMOTE]);
    expect(chosen("192.0.2.10")).toEqual([LOCAL, REMOTE]);
  });

  it("masquerades the node only", () => {
    const own = "192.0.2.10 is an address of this node";
    expect(masquerades(ask([local], "192.0.2.10", at))).toEqual([own, own]);
    expect(masquerades(ask([local], "203.0.113.1", at))).toEqual([undefined]);
  });
});

describe("source ranges", () => {
  const ranged = frontend({
    kind: "LoadBalancerIP",
    policy: "cluster",
    allowedSources: [parsePrefix("203.0.113.0/25")],
    endpoints: [],
    withoutEndpoint: "reject",
  });

  it("are checked before anything else", () => {
    expect(ask([ranged], "203.0.113.200")).toMatchObject({
      verdict: "drop",
      reason: "203.0.113.200 is not among the sources that default/web allows (203.0.113.0/25)",
    });
    expect(ask([ranged], "203.0.113.5").verdict).toBe("reject");
  });

  it("that allow nothing drop everything", () => {
    expect(ask([frontend({ allowedSources: [] })], "203.0.113.5")).toMatchObject({
      verdict: "drop",
      reason: "203.0.113.5 is not among the sources that default/web allows (none)",
    });
  });
});

describe("endpoints with addresses of Services", () => {
  const other = frontend({ address: parseAddress("10.96.0.20"), service: "default/other" });
  const at = (address: string) => ({ address: parseAddress(address), port: 80, isLocal: false });

  it("are not translated again", () => {
    expect(ask([frontend({ endpoints: [at("10.96.0.20")] }), other], "10.244.1.9")).toMatchObject({
      verdict: "reject",
      reason:
        "ClusterIP of default/web: no destination is translated twice, and 10.96.0.20 is the ClusterIP of default/other",
    });
    expect(ask([frontend({ endpoints: [at("10.96.0.30")] })], "10.244.1.9").verdict).toBe("drop");
  });

  it("have an obstacle, and the others have none", () => {
    const outcome = ask([frontend({ endpoints: [REMOTE, at("10.96.0.20")] }), other], "10.244.1.9");
    expect(outcome.verdict === "endpoints" && outcome.choices.map(({ obstacle }) => obstacle?.verdict)).toEqual([
      undefined,
      "reject",
    ]);
  });
});

describe("addresses without a frontend", () => {
  it("are dropped within the ClusterIP range, and untouched elsewhere", () => {
    expect(ask([frontend({})], "10.244.1.9", { to: "10.96.0.11" })).toMatchObject({
      verdict: "drop",
      reason: "no Service has 10.96.0.11, which is in the ClusterIP range 10.96.0.0/16",
    });
    expect(ask([frontend({})], "10.244.1.9", { to: "192.0.2.10" })).toMatchObject({ verdict: "untouched" });
  });
});
