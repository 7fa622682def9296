/** The nftables mode in a kernel, with packets: cases that are not in the rows of test/vectors/services. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "../live/harness/process.ts";
import { ENDPOINT, FrontendBed, frontend, NODE, OUTSIDE, OUTSIDERS, POD } from "./bed/frontend-bed.ts";

let bed: FrontendBed;
beforeAll(async () => {
  bed = await FrontendBed.make();
});
afterAll(() => bed?.close());
beforeEach(async () => {
  await bed.nft("flush", "ruleset");
});

const VIP = { 4: "10.96.0.1", 6: "fd00:96::1" } as const;
const endpoints = (family: 4 | 6, ...numbers: number[]) => numbers.map(ENDPOINT[family]);
const at = (answers: readonly { readonly at: string }[]) => [...new Set(answers.map((answer) => answer.at))].sort();
const client = (text: string) => text.replace(/:\d+$/, "");

test("nft lists the table in both formats, and loads its own listing", async () => {
  const affinity = { seconds: 100, key: "web" };
  const wanted = [
    frontend({ endpoints: endpoints(4, 1, 2, 3), affinity }),
    frontend({
      kind: "LoadBalancerIP",
      address: "192.0.2.77",
      policy: "local",
      withoutEndpoint: "drop",
      endpoints: endpoints(4, 1),
    }),
    frontend({ address: VIP[6], endpoints: endpoints(6, 1, 2) }),
  ];
  await bed.program("compare", ...wanted);
  await bed.reach("client", POD[4](9), VIP[4], 1);
  JSON.parse(await bed.nft("-j", "list", "table", "inet", "weft-services"));
  const listed = await bed.nft("list", "table", "inet", "weft-services");
  await bed.nft("flush", "ruleset");
  const { status, stderr } = await bed.hosts.node.run("nft", ["-f", "-"], listed);
  expect([status, stderr]).toEqual([0, ""]);
  expect(at(await bed.reach("client", POD[4](9), VIP[4], 16))).toHaveLength(1);
  // nft 1.0.6 can still list it with affinity for IPv6.
  await bed.program("change", ...wanted, frontend({ address: VIP[6], port: 81, endpoints: endpoints(6, 1), affinity }));
  JSON.parse(await bed.nft("-j", "list", "table", "inet", "weft-services"));
  expect(await bed.nft("list", "table", "inet", "weft-services")).toContain("update @affinity6");
});

describe.each([4, 6] as const)("IPv%s", (family) => {
  const to = VIP[family];
  const all = [1, 2, 3, 4, 5];

  test("connections are distributed evenly", async () => {
    await bed.program("compare", frontend({ address: to, endpoints: endpoints(family, ...all) }));
    const answers = await bed.reach("outside", OUTSIDE[family], to, 500);
    const counts = all.map((number) => answers.filter((answer) => answer.at === ENDPOINT[family](number)).length);
    // Expected are 100 each, with a standard deviation of 9: this limit fails by chance once in two million runs.
    for (const count of counts) expect(Math.abs(count - 100)).toBeLessThan(46);
  });

  test("a removed endpoint gets no connection, and a new one gets its share", async () => {
    const web = (...numbers: number[]) => frontend({ address: to, endpoints: endpoints(family, ...numbers) });
    await bed.program("compare", web(1, 2, 3));
    await bed.program("change", web(1, 3));
    expect(at(await bed.reach("client", POD[family](9), to, 64))).toEqual(endpoints(family, 1, 3));
    await bed.program("change", web(1, 3, 4, 5));
    expect(at(await bed.reach("client", POD[family](9), to, 128))).toEqual(endpoints(family, 1, 3, 4, 5));
  });

  test("connections are counted, and the counter survives a change of endpoints", async () => {
    const web = (...numbers: number[]) => frontend({ address: to, endpoints: endpoints(family, ...numbers) });
    await bed.program("compare", web(1, 2, 3));
    await bed.reach("client", POD[family](9), to, 10);
    await bed.program("change", web(2));
    await bed.reach("client", POD[family](9), to, 5);
    const [element] = await bed.elements(`connections${family}`);
    expect(element.elem.counter.packets).toBe(15);
  });

  test("connections from sources other than pods are masqueraded, and the mark is removed", async () => {
    await bed.nft(
      "add table inet watch; add chain inet watch out { type filter hook postrouting priority 200; };" +
        'add rule inet watch out meta mark & 0x4000 != 0 counter comment "marked"',
    );
    await bed.program("compare", frontend({ address: to, endpoints: endpoints(family, 1) }));
    const [outside] = await bed.reach("outside", OUTSIDE[family], to, 1);
    const [pod] = await bed.reach("client", POD[family](9), to, 1);
    expect(client(outside?.seen ?? "")).not.toBe(client(outside?.client ?? ""));
    expect(client(pod?.seen ?? "")).toBe(client(pod?.client ?? ""));
    expect(await bed.nft("list", "table", "inet", "watch")).toContain("counter packets 0");
  });

  test("a pod that connects to itself sees another address", async () => {
    await bed.program("compare", frontend({ address: to, endpoints: endpoints(family, 2) }));
    const [answer] = await bed.reach("pods", POD[family](2), to, 1);
    expect(client(answer?.seen ?? "")).not.toBe(client(answer?.client ?? ""));
  });

  test("only allowed sources get through, and others are counted", async () => {
    const allowedSources = family === 4 ? ["192.0.2.0/30", "192.0.2.2/31"] : ["2001:db8::/126", "2001:db8::2/127"];
    const policy = { kind: "LoadBalancerIP", policy: "cluster" } as const;
    await bed.program("compare", frontend({ ...policy, address: to, endpoints: endpoints(family, 1), allowedSources }));
    await bed.reach("outside", OUTSIDERS[family](3), to, 1);
    const refused = await bed.connect("outside", OUTSIDERS[family](4), to, { isAnswered: false });
    expect(refused).toEqual([{ failure: "silence" }]);
    expect(await bed.counted(`sources that a Service does not allow, IPv${family}`)).toBeGreaterThan(0);
  });

  test("without endpoints, connections are refused or dropped, and counted", async () => {
    const port = (number: number, withoutEndpoint: "reject" | "drop") =>
      frontend({ address: to, port: number, withoutEndpoint });
    await bed.program("compare", port(81, "reject"), port(82, "drop"));
    for (const [host, from] of [
      ["client", POD[family](9)],
      ["outside", OUTSIDE[family]],
    ] as const) {
      expect(await bed.connect(host, from, to, { port: 81 })).toEqual([{ failure: "ECONNREFUSED" }]);
      expect(await bed.connect(host, from, to, { port: 82, isAnswered: false })).toEqual([{ failure: "silence" }]);
      expect(await bed.connect(host, from, to, { port: 83 })).toEqual([{ failure: "ECONNREFUSED" }]);
    }
    const comments = ["no endpoint", "no endpoint on this node", "no such port of a ClusterIP"];
    for (const comment of comments) expect(await bed.counted(`${comment}, IPv${family}`)).toBeGreaterThan(1);
  });

  describe("affinity", () => {
    const web = (seconds: number, ...numbers: number[]) => {
      const more = { endpoints: endpoints(family, ...numbers), affinity: { seconds, key: "default/web" } };
      const nodePort = { kind: "NodePort", address: NODE[family], port: 30080, policy: "local" } as const;
      return [
        frontend({ address: to, ...more }),
        frontend({
          ...nodePort,
          ...more,
          localEndpoints: endpoints(family, ...numbers.filter((number) => number > 1)),
        }),
      ];
    };
    const entries = async (): Promise<readonly { expires: number }[]> =>
      (await bed.elements(`affinity${family}`)).map(([{ elem }]) => elem);

    test("a client keeps its endpoint on all frontends of the Service port, and other clients have theirs", async () => {
      await bed.program("compare", ...web(100, ...all.slice(1)));
      const first = at(await bed.reach("outside", OUTSIDERS[family](1), to, 64));
      expect(first).toHaveLength(1);
      const byNodePort = await bed.connect("outside", OUTSIDERS[family](1), NODE[family], { port: 30080, times: 32 });
      expect([...new Set(byNodePort.map((result) => ("at" in result ? result.at : result.failure)))]).toEqual(first);
      const others = [2, 3, 4, 5, 6, 7, 8, 9].map((number) => bed.reach("outside", OUTSIDERS[family](number), to, 4));
      const each = (await Promise.all(others)).map(at);
      expect(each.every((one) => one.length === 1)).toBe(true);
      // Nine clients of four endpoints: by chance, all have the same endpoint once in 65,000 runs.
      expect(new Set([...each.flat(), ...first]).size).toBeGreaterThan(1);
    });

    test("a client whose endpoint is removed gets another one, and keeps that", async () => {
      await bed.program("compare", ...web(100, ...all));
      const [first = ""] = at(await bed.reach("client", POD[family](9), to, 16));
      const left = all.filter((number) => ENDPOINT[family](number) !== first);
      await bed.program("change", ...web(100, ...left));
      const second = at(await bed.reach("client", POD[family](9), to, 16));
      expect(second).toHaveLength(1);
      expect(second).not.toEqual([first]);
      await bed.program("change", ...web(100, ...all));
      expect(at(await bed.reach("client", POD[family](9), to, 32))).toEqual(second);
      expect(await bed.program("compare", ...web(100, ...all))).toEqual([]);
      expect(at(await bed.reach("client", POD[family](9), to, 32))).toEqual(second);
    });

    test("each connection renews the timeout, with the Service's present value", async () => {
      await bed.program("compare", ...web(5000, ...all));
      const endpoint = at(await bed.reach("client", POD[family](9), to, 4));
      const [before] = await entries();
      expect(before?.expires).toBeLessThanOrEqual(5000);
      expect(before?.expires).toBeGreaterThan(4000);
      await bed.program("change", ...web(500, ...all));
      expect(at(await bed.reach("client", POD[family](9), to, 4))).toEqual(endpoint);
      const [after] = await entries();
      expect(after?.expires).toBeLessThanOrEqual(500);
      await bed.program("change", ...web(9000, ...all));
      expect(at(await bed.reach("client", POD[family](9), to, 4))).toEqual(endpoint);
      const [renewed, ...others] = await entries();
      expect(renewed?.expires).toBeGreaterThan(8000);
      expect(others).toEqual([]);
    });

    test("an inactive client is forgotten", async () => {
      await bed.program("compare", ...web(1, ...all));
      await bed.reach("client", POD[family](9), to, 2);
      await eventually(async () => expect(await entries()).toEqual([]));
      await bed.reach("client", POD[family](9), to, 1);
    });

    test("packets leave with the priority that they would have without Services", async () => {
      await bed.nft(
        "add table inet watch; add chain inet watch out { type filter hook postrouting priority 200; };" +
          "add rule inet watch out meta priority != 0 counter",
      );
      await bed.program("compare", ...web(100, ...all));
      await bed.reach("client", POD[family](9), to, 4);
      expect(await bed.nft("list", "table", "inet", "watch")).toContain("counter packets 0");
    });
  });
});

test("if the affinity map is full, connections of further clients use any endpoint", async () => {
  const affinity = { seconds: 100, key: "default/web" };
  await bed.program("compare", frontend({ endpoints: endpoints(4, 1, 2, 3), affinity }));
  const [first = ""] = at(await bed.reach("outside", OUTSIDERS[4](1), VIP[4], 4));
  const strangers = Array.from({ length: 262_143 }, (_, number) => {
    const address = `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`;
    return `${address} . 0:1 timeout 1d : 0:2`;
  });
  const text = `add element inet weft-services affinity4 { ${strangers.join(",\n")} }\n`;
  expect((await bed.hosts.node.run("nft", ["-f", "-"], text)).status).toBe(0);
  expect(at(await bed.reach("outside", OUTSIDERS[4](2), VIP[4], 64))).toEqual(endpoints(4, 1, 2, 3));
  // Clients already in the map keep their endpoint.
  expect(at(await bed.reach("outside", OUTSIDERS[4](1), VIP[4], 16))).toEqual([first]);
});
