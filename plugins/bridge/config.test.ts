import { describe, expect, test } from "vitest";
import { CniArguments } from "../../pkg/cni/arguments.ts";
import { ConfigObject } from "../../pkg/cni/config.ts";
import { parseBridgeConfig } from "./config.ts";

const parse = (object: object, args = "") =>
  parseBridgeConfig(new ConfigObject(object as Record<string, unknown>), new CniArguments(args));

test("uses the reference's defaults without keys", () => {
  expect(parse({})).toEqual({
    ...{ bridge: "cni0", isGateway: false, isDefaultGateway: false, forceAddress: false, ipMasq: false },
    ...{ mtu: undefined, hairpinMode: false, promiscMode: false, mac: undefined, vlans: undefined },
    ...{ guardsMac: false, guardsSenders: false, isIsolated: false, detectsDuplicates: false, staysDown: false },
  });
});

test("a default gateway is a gateway", () => {
  expect(parse({ isDefaultGateway: true })).toMatchObject({ isGateway: true, isDefaultGateway: true });
});

test("keys match without regard to case, as in Go", () => {
  expect(parse({ BRIDGE: "br7", HairpinMode: true, MTU: 1400 })).toMatchObject({
    bridge: "br7",
    hairpinMode: true,
    mtu: 1400,
  });
});

test("an MTU of 0 means the kernel's default", () => {
  expect(parse({ mtu: 0 }).mtu).toBeUndefined();
});

describe("the hardware address", () => {
  const args = "IgnoreUnknown=1;MAC=0a:00:00:00:00:01;K8S_POD_NAME=p";
  test("is taken from the capability, else from args.cni, else from CNI_ARGS", () => {
    const configArgs = { args: { cni: { mac: "0a:00:00:00:00:02" } } };
    const capability = { runtimeConfig: { mac: "0A:00:00:00:00:03" } };
    expect(parse({}, args).mac).toBe("0a:00:00:00:00:01");
    expect(parse(configArgs, args).mac).toBe("0a:00:00:00:00:02");
    expect(parse({ ...configArgs, ...capability }, args).mac).toBe("0a:00:00:00:00:03");
  });
});

test("accepts ipMasqBackend iptables, with a notice if ipMasq is set", () => {
  expect(parse({ ipMasq: true, ipMasqBackend: "iptables" })).toMatchObject({
    ...{ ipMasq: true, masqueradeNotice: expect.stringMatching(/^ipMasqBackend "iptables": weft uses nftables/) },
  });
  for (const ipMasqBackend of ["nftables", ""])
    expect(parse({ ipMasq: true, ipMasqBackend })).toMatchObject({ ipMasq: true, masqueradeNotice: undefined });
  expect(parse({ ipMasqBackend: "ebpf" })).toMatchObject({ ipMasq: false, masqueradeNotice: undefined });
  expect(() => parse({ ipMasq: true, ipMasqBackend: "ebpf" })).toThrow(
    expect.objectContaining({ code: 7, message: expect.stringMatching(/^ipMasqBackend: expected "iptables" or/) }),
  );
});

test.each([
  [{ hairpinMode: true, promiscMode: true }, /promiscMode/],
  [{ disableContainerInterface: true, ipam: { type: "host-local" } }, /disableContainerInterface.*ipam/],
  [{ bridge: "much-too-long-a-name" }, /bridge/],
  [{ bridge: "twelve-chars", vlan: 1000, isGateway: true }, /bridge: expected space for "\.1000"/],
  [{ macspoofchk: "yes" }, /macspoofchk/],
  [{ guardSenders: "yes", ipam: { type: "static" } }, /guardSenders/],
  [{ guardSenders: true }, /guardSenders: .*an IPAM plugin/],
  [{ guardSenders: true, ipam: { type: "static" }, vlanTrunk: [{ id: 7 }] }, /guardSenders: .*no vlanTrunk/],
])("rejects %j with code 7", (object, message) => {
  expect(() => parse(object)).toThrow(expect.objectContaining({ code: 7, message: expect.stringMatching(message) }));
});
