import { describe, expect, test } from "vitest";
import { ConfigObject } from "../../pkg/cni/config.ts";
import { formatPrefix } from "../../pkg/ip/prefix.ts";
import { parseBandwidth } from "./config.ts";

const parse = (values: Record<string, unknown>) => parseBandwidth(new ConfigObject(values));
const capability = (bandwidth: Record<string, unknown>) => ({ runtimeConfig: { bandwidth } });

test("converts bits to bytes", () => {
  expect(parse({ ingressRate: 8000, ingressBurst: 16, egressRate: 20_000_000, egressBurst: 8_000_000 })).toEqual({
    ingress: { bytesPerSecond: 1000, burstBytes: 2 },
    egress: { bytesPerSecond: 2_500_000, burstBytes: 1_000_000 },
  });
});

test("accepts the capability's keys as containerd spells them", () => {
  expect(parse(capability({ IngressRate: 10_000_000, IngressBurst: 4294967295 }))).toEqual({
    ingress: { bytesPerSecond: 1_250_000, burstBytes: 536_870_911 },
    egress: undefined,
  });
});

test("ignores the capability if the configuration has limits, as the reference does", () => {
  const both = { ...capability({ ingressRate: 80, ingressBurst: 80 }), egressRate: 8000, egressBurst: 8000 };
  expect(parse(both)).toEqual({ ingress: undefined, egress: { bytesPerSecond: 1000, burstBytes: 1000 } });
});

test("absent values, null and 0 mean no limit", () => {
  const none = { ingress: undefined, egress: undefined, subnets: undefined };
  expect(parse({})).toEqual(none);
  expect(parse({ runtimeConfig: { bandwidth: null } })).toEqual(none);
  expect(parse({ ingressRate: 0, ingressBurst: 0, egressRate: null })).toEqual(none);
});

test.each([
  [{ ingressRate: 8000 }, /ingressBurst: expected at least 8 bits with ingressRate, got nothing/],
  [{ egressBurst: 8000 }, /egressRate: expected at least 8 bits a second with egressBurst, got nothing/],
  [{ ingressRate: 7, ingressBurst: 8000 }, /ingressRate: expected at least 8/],
  [{ ingressRate: 8000, ingressBurst: 7 }, /ingressBurst: expected at least 8/],
  [{ ingressRate: 8000, ingressBurst: 8 * (2 ** 32 - 1) }, /ingressBurst: expected an integer from 0 to 34359738359/],
  [{ ingressRate: -1, ingressBurst: 8000 }, /ingressRate: expected an integer of at least 0/],
  [{ ingressRate: "10M", ingressBurst: 8000 }, /ingressRate: expected an integer of at least 0, got "10M"/],
  [capability({ egressRate: 1.5, egressBurst: 8 }), /runtimeConfig.bandwidth.egressRate: expected an integer/],
  [{ runtimeConfig: { bandwidth: 7 } }, /runtimeConfig.bandwidth: expected an object/],
])("rejects %j", (values, message) => {
  expect(() => parse(values)).toThrow(message);
});

describe("subnets", () => {
  const subnetsOf = (values: Record<string, unknown>) => {
    const { subnets } = parse(values);
    return subnets && { ...subnets, prefixes: subnets.prefixes.map(formatPrefix) };
  };

  test.each([
    [{ unshapedSubnets: ["10.9.9.9/8", "fd00::/48"] }, { isShaped: false, prefixes: ["10.0.0.0/8", "fd00::/48"] }],
    [
      { shapedSubnets: ["10.0.0.0/8"], unshapedSubnets: [] },
      { isShaped: true, prefixes: ["10.0.0.0/8"] },
    ],
    [{ shapedSubnets: [] }, undefined],
    [capability({ shapedSubnets: ["10.0.0.0/8"] }), { isShaped: true, prefixes: ["10.0.0.0/8"] }],
    [
      { ...capability({ egressRate: 8, egressBurst: 8 }), unshapedSubnets: ["10.0.0.0/8"] },
      { isShaped: false, prefixes: ["10.0.0.0/8"] },
    ],
  ])("of %j are %j", (values, subnets) => {
    expect(subnetsOf(values)).toEqual(subnets);
  });

  test("are rejected if both lists have entries, or an entry is not a prefix", () => {
    const both = { shapedSubnets: ["10.0.0.0/8"], unshapedSubnets: ["10.0.0.0/9"] };
    expect(() => parse(both)).toThrow(/^unshapedSubnets: expected none if shapedSubnets is set/);
    expect(() => parse({ shapedSubnets: ["10.0.0.0"] })).toThrow(/^shapedSubnets\[0\]: "10.0.0.0" is not a prefix/);
  });
});
