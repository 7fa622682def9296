import { describe, expect, test } from "vitest";
import { ConfigObject } from "../../cni/config.ts";
import { lenientConfig, parseFirewallConfig } from "./config.ts";

const DEFAULTS = {
  backend: undefined,
  notice: undefined,
  adminChain: "CNI-ADMIN",
  zone: "trusted",
  ingressPolicy: undefined,
};
const parse = (values: Record<string, unknown>) => parseFirewallConfig(new ConfigObject(values));

test.each<[Record<string, unknown>, object]>([
  [{}, {}],
  [{ backend: "", iptablesAdminChainName: "", firewalldZone: "", ingressPolicy: "" }, {}],
  [{ backend: null, ingressPolicy: "open" }, {}],
  [{ backend: "nftables" }, { backend: "nftables" }],
  [
    { Backend: "firewalld", FirewalldZone: "internal" },
    { backend: "firewalld", zone: "internal" },
  ],
  [{ iptablesAdminChainName: "SITE-RULES" }, { adminChain: "SITE-RULES" }],
  [{ ingressPolicy: "same-bridge" }, { ingressPolicy: "same-bridge" }],
  [{ ingressPolicy: "isolated" }, { ingressPolicy: "isolated" }],
  [{ backend: "iptables" }, { backend: "iptables", notice: expect.stringMatching(/^backend "iptables": weft writes/) }],
  [{ backend: "ebpf" }, { notice: expect.stringMatching(/^backend "ebpf" is unknown/) }],
])("accepts %j", (values, expected) => {
  expect(parse(values)).toEqual({ ...DEFAULTS, ...expected });
});

describe("parseFirewallConfig", () => {
  test.each<[Record<string, unknown>, number, RegExp]>([
    [{ backend: 1 }, 7, /backend/],
    [{ ingressPolicy: "closed" }, 7, /ingressPolicy/],
    [{ iptablesAdminChainName: "two words" }, 7, /iptablesAdminChainName/],
    [{ iptablesAdminChainName: "x".repeat(29) }, 7, /iptablesAdminChainName/],
    [{ iptablesAdminChainName: "-j" }, 7, /iptablesAdminChainName/],
    [{ firewalldZone: 1 }, 7, /firewalldZone/],
  ])("refuses %j with code %i", (values, code, message) => {
    expect(() => parse(values)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});

test.each<[Record<string, unknown>, object]>([
  [{ backend: "ebpf", iptablesAdminChainName: "two words", firewalldZone: 1 }, {}],
  [{ iptablesAdminChainName: ["x"] }, {}],
  [
    { iptablesAdminChainName: "SITE", firewalldZone: "internal" },
    { adminChain: "SITE", zone: "internal" },
  ],
])("DEL uses the valid parts of %j", (values, expected) => {
  expect(lenientConfig(new ConfigObject(values))).toEqual({ adminChain: "CNI-ADMIN", zone: "trusted", ...expected });
});
