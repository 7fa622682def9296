import { describe, expect, test } from "vitest";
import { parseAddress } from "../../ip/address.ts";
import { formatPrefix, parsePrefix } from "../../ip/prefix.ts";
import { prefixSpan, type Span, wholeSpan } from "../../ip/span.ts";
import type { PortCondition } from "../../tables/port-condition.ts";
import { describeHostPort } from "../../tables/port-map.ts";
import type { PortmapConfig, WantedPort } from "./config.ts";
import { planPortMap, podAddresses } from "./plan.ts";

const PORT: WantedPort = {
  ...{ protocol: 6, hostPort: 8080, containerPort: 80 },
  ...{ families: [4, 6], hostAddress: undefined },
};
const POD = [parsePrefix("10.1.0.2/24"), parsePrefix("fd00::2/64")];
const DEFAULTS = {
  ...{ snat: true, masqAll: false, markBit: 13, iptablesKeys: [] },
  conditions: { 4: undefined, 6: undefined },
} as const;
const plan = (ports: readonly WantedPort[], more: Partial<PortmapConfig> = {}, pod = POD) =>
  planPortMap({ ...DEFAULTS, ports, ...more }, "mark", pod);
const sources = (map: ReturnType<typeof plan>) => map.masquerades.map(({ source }) => formatPrefix(source));

describe("ports", () => {
  test("are mapped to the pod's address of each family", () => {
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

  test("are left out for families in which the pod has no address", () => {
    const single: WantedPort = { ...PORT, families: [6], hostAddress: parseAddress("fd00::1") };
    expect(plan([single], {}, [parsePrefix("10.1.0.2/24")])).toEqual({ mappings: [], masquerades: [] });
    expect(plan([single]).mappings.map(describeHostPort)).toEqual(["8080/tcp of fd00::1"]);
  });

  test("that are repeated are mapped once", () => {
    expect(plan([PORT, { ...PORT, families: [4] }, PORT]).mappings).toHaveLength(2);
  });
});

describe("masqueraded sources", () => {
  test.each<[string, Partial<PortmapConfig>, string[]]>([
    ["are neighbours and loopback by default", {}, ["10.1.0.0/24", "127.0.0.0/8", "fd00::/64"]],
    ["are all addresses with masqAll", { masqAll: true }, ["0.0.0.0/0", "::/0"]],
    ["are none without snat", { snat: false, masqAll: true }, []],
  ])("%s", (_, more, expected) => {
    expect(sources(plan([PORT], more))).toEqual(expected);
  });

  test("do not overlap if the subnet contains loopback addresses", () => {
    expect(sources(plan([PORT], {}, [parsePrefix("10.1.0.2/0")]))).toEqual(["0.0.0.0/0"]);
  });

  test("are separate for each port that has an address", () => {
    const single: WantedPort = { ...PORT, families: [4], hostAddress: parseAddress("192.0.2.1"), containerPort: 81 };
    const { mappings, masquerades } = plan([single, PORT], {}, [parsePrefix("10.1.0.2/24")]);
    expect([mappings.length, masquerades.length]).toEqual([2, 4]);
  });
});

describe("conditions", () => {
  const any = (bits: number) => wholeSpan(bits);
  const condition = (source: Span, destination = any(32)) => ({ source, destination, inputInterface: any(128) });
  const only = (...conditions: PortCondition[]) => ({ conditions: { 4: conditions, 6: undefined } });

  test("each make an entry of their family", () => {
    const { mappings } = plan([PORT], only(condition({ first: 1n, last: 2n }), condition({ first: 4n, last: 5n })));
    const firsts = mappings.map(({ target, host }) => [target.family, host.condition?.source.first]);
    expect(firsts).toEqual([
      [4, 1n],
      [4, 4n],
      [6, undefined],
    ]);
  });

  test("exclude ports whose address, and sources, they do not contain", () => {
    const address = parseAddress("192.0.2.1");
    const single: WantedPort = { ...PORT, families: [4], hostAddress: address };
    const to = (text: string) => condition(any(32), prefixSpan(parsePrefix(text)));
    expect(plan([single], only(to("192.0.3.0/24"))).mappings).toEqual([]);
    expect(plan([single], only(to("192.0.2.0/24"))).mappings.map(({ host }) => host.condition?.destination)).toEqual([
      { first: address.value, last: address.value },
    ]);
    const from = (text: string) => plan([single], only(condition(prefixSpan(parsePrefix(text)))));
    expect(sources(from("198.51.100.0/24"))).toEqual([]);
    expect(sources(from("127.0.0.0/8"))).toEqual(["127.0.0.0/8"]);
  });
});

test("uses the first address of each family that belongs to the attachment's interface", () => {
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
