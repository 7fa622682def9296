import { expect, test } from "vitest";
import { ConfigObject } from "../../cni/config.ts";
import { parseAddress } from "../../ip/address.ts";
import { parsePortmapConfig } from "./config.ts";

const parse = (more: object) => parsePortmapConfig(new ConfigObject({ name: "net", ...more }));
const withPorts = (...portMappings: object[]) => parse({ runtimeConfig: { portMappings } });
const PORT = { hostPort: 8080, containerPort: 80, protocol: "tcp" };

test("uses the reference plugin's defaults", () => {
  expect(parse({})).toEqual({
    ...{ snat: true, masqAll: false, markBit: 13, ports: [], iptablesKeys: [] },
    conditions: { 4: undefined, 6: undefined },
  });
  expect(parse({ snat: null, markMasqBit: null, conditionsV4: null, backend: "" })).toEqual(parse({}));
});

test("maps a port without hostIP in both families, with hostIP in the address's family", () => {
  const wanted = (hostIP?: string) => withPorts({ ...PORT, hostIP }).ports[0];
  expect(wanted()).toEqual({
    ...{ protocol: 6, hostPort: 8080, containerPort: 80 },
    ...{ families: [4, 6], hostAddress: undefined },
  });
  expect(wanted("")).toEqual(wanted());
  expect(wanted("0.0.0.0")).toMatchObject({ families: [4], hostAddress: undefined });
  expect(wanted("::")).toMatchObject({ families: [6], hostAddress: undefined });
  expect(wanted("fd00::1")).toMatchObject({ families: [6], hostAddress: parseAddress("fd00::1") });
});

test("matches keys as Go does and protocols case-insensitively", () => {
  expect(withPorts({ HostPort: 53, ContainerPort: 54, Protocol: "UDP", HostIP: "" }).ports).toMatchObject([
    { protocol: 17, hostPort: 53, containerPort: 54 },
  ]);
  expect(withPorts({ ...PORT, protocol: "sctp" }).ports).toMatchObject([{ protocol: 132 }]);
});

test.each<[object, number, RegExp]>([
  [{ backend: "pf" }, 7, /^backend: expected "nftables" or "iptables", got "pf"/],
  [{ externalSetMarkChain: "X", markMasqBit: 13 }, 7, /^externalSetMarkChain: .*markMasqBit/],
  [{ externalSetMarkChain: "X", backend: "nftables" }, 7, /^externalSetMarkChain: /],
  [{ conditionsV4: ["-s", "10.0.0.0/8"], backend: "nftables" }, 7, /^conditionsV4: .*backend nftables/],
  [{ conditionsV4: ["ip saddr 10.0.0.0/8"], backend: "iptables" }, 7, /^conditionsV4: .*backend iptables/],
  [{ conditionsV6: ["!"] }, 2, /^conditionsV6: /],
  [{ conditionsV6: "!" }, 7, /^conditionsV6: expected a list/],
  [{ snat: "no" }, 7, /^snat: expected true or false/],
  [{ masqAll: 1 }, 7, /^masqAll: expected true or false/],
  [{ markMasqBit: -1 }, 7, /^markMasqBit: expected an integer from 0 to 31/],
  [{ runtimeConfig: { portMappings: {} } }, 7, /^runtimeConfig\.portMappings: expected a list/],
])("refuses %j", (more, code, message) => {
  expect(() => parse(more)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
});

test("refuses a host port with two targets unless family, protocol or address differ", () => {
  const other = { ...PORT, containerPort: 81 };
  expect(() => withPorts(PORT, other)).toThrow(
    /^runtimeConfig\.portMappings\[1\]\.hostPort: 8080 is already mapped to another port by runtimeConfig\.portMappings\[0\]$/,
  );
  expect(() => withPorts(PORT, { ...other, hostIP: "::" })).toThrow(/already mapped/);
  expect(withPorts(PORT, PORT, { ...other, protocol: "udp" }, { ...other, hostIP: "192.0.2.1" }).ports).toHaveLength(4);
  expect(withPorts({ ...PORT, hostIP: "0.0.0.0" }, { ...other, hostIP: "::" }).ports).toHaveLength(2);
});

test("accepts keys that request iptables and lists them", () => {
  const named = (more: object) => parse(more).iptablesKeys;
  expect(named({ backend: "iptables", externalSetMarkChain: "KUBE-MARK-MASQ" })).toEqual([
    ...['backend "iptables"', 'externalSetMarkChain "KUBE-MARK-MASQ"'],
  ]);
  expect(named({ conditionsV4: ["-s", "10.0.0.0/8"], conditionsV6: ["!", "-i", "eth0"] })).toEqual([
    ...["conditionsV4", "conditionsV6"],
  ]);
  expect(named({ backend: "nftables", conditionsV4: ["ip saddr 10.0.0.0/8"] })).toEqual([]);
});
