import { describe, expect, test } from "vitest";
import { CniArguments } from "../../pkg/cni/arguments.ts";
import { ConfigObject } from "../../pkg/cni/config.ts";
import { parseBridgeConfig } from "./config.ts";

const parse = (object: object, args = "") =>
  parseBridgeConfig(new ConfigObject(object as Record<string, unknown>), new CniArguments(args));

test("without keys the reference's defaults hold", () => {
  expect(parse({})).toEqual({
    ...{ bridge: "cni0", isGateway: false, isDefaultGateway: false, forceAddress: false, ipMasq: false },
    ...{ mtu: undefined, hairpinMode: false, promiscMode: false, mac: undefined },
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

test("an MTU of 0 means the kernel's own", () => {
  expect(parse({ mtu: 0 }).mtu).toBeUndefined();
});

describe("the hardware address", () => {
  const args = "IgnoreUnknown=1;MAC=0a:00:00:00:00:01;K8S_POD_NAME=p";
  test("comes from CNI_ARGS, args.cni beats that, and the capability beats both", () => {
    const configArgs = { args: { cni: { mac: "0a:00:00:00:00:02" } } };
    const capability = { runtimeConfig: { mac: "0A:00:00:00:00:03" } };
    expect(parse({}, args).mac).toBe("0a:00:00:00:00:01");
    expect(parse(configArgs, args).mac).toBe("0a:00:00:00:00:02");
    expect(parse({ ...configArgs, ...capability }, args).mac).toBe("0a:00:00:00:00:03");
  });
});

describe("keys of the reference that are not served", () => {
  test.each([
    ["vlan", 5],
    ["vlanTrunk", [{ id: 1 }]],
    ["macspoofchk", true],
    ["portIsolation", true],
    ["disableContainerInterface", true],
    ["enabledad", true],
    ["ipMasqBackend", "iptables"],
  ])("%s is refused with code 2 and its name", (key, value) => {
    expect(() => parse({ [key]: value })).toThrow(
      expect.objectContaining({ code: 2, message: expect.stringContaining(key) }),
    );
  });

  test("are no matter at their defaults", () => {
    expect(
      parse({
        vlan: 0,
        vlanTrunk: [],
        macspoofchk: false,
        portIsolation: false,
        preserveDefaultVlan: true,
        ipMasqBackend: "nftables",
      }),
    ).toMatchObject({ bridge: "cni0" });
  });
});
