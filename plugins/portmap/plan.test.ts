import { describe, expect, test } from "vitest";
import { parseAddress } from "../../pkg/ip/address.ts";
import { formatPrefix, parsePrefix } from "../../pkg/ip/prefix.ts";
import { describeHostPort } from "../../pkg/kernel/port-map.ts";
import type { PortmapConfig, WantedPort } from "./config.ts";
import { planPortMap, podAddresses } from "./plan.ts";

const PORT: WantedPort = {
  ...{ protocol: 6, hostPort: 8080, containerPort: 80 },
  ...{ families: [4, 6], hostAddress: undefined },
};
const POD = [parsePrefix("10.1.0.2/24"), parsePrefix("fd00::2/64")];
const plan = (ports: readonly WantedPort[], more: Partial<PortmapConfig> = {}, pod = POD) =>
  planPortMap({ snat: true, masqAll: false, markBit: 13, ports, ...more }, "mark", pod);
const sources = (map: ReturnType<typeof plan>) => map.masquerades.map(({ source }) => formatPrefix(source));

describe("ports", () => {
  test("lead to the pod's address of each family", () => {
    expect(plan([PORT]).mappings).toEqual([
      {
        ...{ owner: "mark", host: { protocol: 6, address: undefined, port: 8080 } },
        ...{ target: parseAddress("10.1.0.2"), targetPort: 80 },
      },
      {
        ...{ owner: "mark", host: { protocol: 6, address: undefined, port: 8080 } },
        ...{ target: parseAddress("fd00::2"), targetPort: 80 },
      },
    ]);
  });

  test("of a family that the pod has no address of are left out", () => {
    const single: WantedPort = { ...PORT, families: [6], hostAddress: parseAddress("fd00::1") };
    expect(plan([single], {}, [parsePrefix("10.1.0.2/24")])).toEqual({ mappings: [], masquerades: [] });
    expect(plan([single]).mappings.map(describeHostPort)).toEqual(["8080/tcp of fd00::1"]);
  });

  test("that are said twice are mapped once", () => {
    expect(plan([PORT, { ...PORT, families: [4] }, PORT]).mappings).toHaveLength(2);
  });
});

describe("who gets the node's address", () => {
  test.each<[string, Partial<PortmapConfig>, string[]]>([
    ["neighbours and loopback", {}, ["10.1.0.0/24", "127.0.0.0/8", "fd00::/64"]],
    ["everybody with masqAll", { masqAll: true }, ["0.0.0.0/0", "::/0"]],
    ["nobody without snat", { snat: false, masqAll: true }, []],
  ])("%s", (_, more, expected) => {
    expect(sources(plan([PORT], more))).toEqual(expected);
  });

  test("ranges do not overlap where the subnet holds loopback addresses, or all addresses speak for one", () => {
    expect(sources(plan([PORT], {}, [parsePrefix("10.1.0.2/0")]))).toEqual(["0.0.0.0/0"]);
    const single: WantedPort = { ...PORT, families: [4], hostAddress: parseAddress("192.0.2.1"), containerPort: 81 };
    const { mappings, masquerades } = plan([single, PORT], {}, [parsePrefix("10.1.0.2/24")]);
    expect([mappings.length, masquerades.length]).toEqual([2, 2]);
    expect(masquerades.every(({ host }) => host.address === undefined)).toBe(true);
  });
});

test("addresses are the first of each family that no other interface of the result has", () => {
  const result = {
    interfaces: [{ name: "cni0" }, { name: "eth0" }, { name: "eth0", sandbox: "/x" }],
    ips: [
      { address: parsePrefix("10.1.0.1/24"), interface: 0 },
      { address: parsePrefix("10.1.0.9/24"), interface: 1 },
      { address: parsePrefix("fd00::2/64") },
      { address: parsePrefix("10.1.0.2/24"), interface: 2 },
      { address: parsePrefix("10.1.0.3/24"), interface: 7 },
      { address: parsePrefix("fd00::3/64"), interface: 2 },
    ],
    ...{ routes: [], dns: {} },
  };
  expect(podAddresses(result, "eth0").map(formatPrefix)).toEqual(["10.1.0.2/24", "fd00::2/64"]);
  expect(podAddresses({ ...result, ips: [] }, "eth0")).toEqual([]);
});
