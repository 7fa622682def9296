/** The owner of a host port: two pods with the same port, and ports of a pod that is gone without a DEL. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Inside } from "./harness/inside.ts";
import { removeNamespace } from "./harness/namespace.ts";
import { OURS, type PluginBed, REFERENCE } from "./harness/plugin-bed.ts";
import {
  BRIDGE,
  FAMILIES,
  GATEWAY,
  HOST_PORT,
  mapping,
  OUTSIDE,
  PortBed,
  portmap,
  silent,
  UPLINK,
} from "./harness/port-bed.ts";
import { eventually, PATIENCE } from "./harness/process.ts";

let ports: PortBed;
let bed: PluginBed;
let outside: Inside;
beforeEach(async () => {
  ports = await PortBed.make();
  ({ bed, outside } = ports);
});
afterEach(() => ports.close());

/** A pod with its own server, on a port that no other pod serves: the port shows which pod answered. */
async function pod(containerId: string, containerPort: number, more: object = {}, options: object = {}) {
  const { namespace, inside } = await bed.anotherPod(containerId);
  const call = { containerId, netns: namespace.path };
  const both = (["tcp", "udp"] as const).map((protocol) => mapping(protocol, { containerPort, ...more }));
  const input = (json?: unknown) => portmap(both, json, options);
  return { namespace, inside, call, input, add: () => ports.attach(both, call, options), containerPort };
}
type Pod = Awaited<ReturnType<typeof pod>>;

const serve = async ({ inside, containerPort }: Pod) => {
  for (const transport of ["tcp", "udp"] as const) await inside.listen(containerPort, transport);
};

describe.each(FAMILIES)("IPv%d: a port of one address and the same port of all addresses", (of) => {
  const second = { 4: "198.51.100.9", 6: "2001:db8:51::9" }[of];

  beforeEach(() => ports.giveNode(second));

  describe.each(["the one address", "all addresses"] as const)("%s first", (first) => {
    test("each port is answered by its own pod, with that pod's masquerade, until either is deleted", async () => {
      const single = await pod("c1", 81, { hostIP: second }, { snat: false });
      const all = await pod("c2", 82);
      const pods = first === "the one address" ? [single, all] : [all, single];
      const added = new Map<Pod, unknown>();
      for (const each of pods) {
        const answer = await each.add();
        expect(answer).toMatchObject({ status: 0 });
        added.set(each, answer.json);
      }
      await serve(single);
      await silent(outside, UPLINK[of], HOST_PORT);
      await serve(all);
      for (const transport of ["tcp", "udp"] as const) {
        for (const to of [second, UPLINK[of]]) {
          expect(await outside.seenBy(to, HOST_PORT, { transport })).toBe(OUTSIDE[of]);
        }
      }
      // The pod of all addresses is masqueraded for its neighbours; the pod of one address is not.
      expect(await single.inside.seenBy(UPLINK[of], HOST_PORT)).toBe(GATEWAY[of]);
      expect(await all.inside.seenBy(second, HOST_PORT).catch(() => "nobody")).not.toBe(GATEWAY[of]);
      for (const each of pods) {
        expect(await ports.call("CHECK", each.input(added.get(each)), each.call)).toMatchObject({ status: 0 });
      }
      const third = { cniVersion: "1.1.0", ips: [{ address: of === 4 ? "10.22.0.99/24" : "fd00:22::99/64" }] };
      for (const hostIP of [second, undefined]) {
        const wanted = portmap([mapping("tcp", hostIP === undefined ? {} : { hostIP })], third);
        expect((await ports.call("ADD", wanted, { containerId: "c3" })).json).toMatchObject({ code: 100 });
      }
      const [gone = all, left = single] = pods;
      const via = { transport: "udp", from: 40_003 } as const;
      for (const to of [second, UPLINK[of]]) expect(await outside.seenBy(to, HOST_PORT, via)).toBe(OUTSIDE[of]);
      expect(await ports.call("DEL", gone.input(), gone.call)).toMatchObject({ status: 0 });
      expect(await ports.call("CHECK", left.input(added.get(left)), left.call)).toMatchObject({ status: 0 });
      expect(await outside.seenBy(second, HOST_PORT)).toBe(OUTSIDE[of]);
      expect(await outside.seenBy(second, HOST_PORT, via)).toBe(OUTSIDE[of]);
      if (left === single) await silent(outside, UPLINK[of], HOST_PORT);
      else expect(await outside.seenBy(UPLINK[of], HOST_PORT, via)).toBe(OUTSIDE[of]);
      expect(await ports.call("DEL", left.input(), left.call)).toMatchObject({ status: 0 });
      expect(await ports.elements()).toEqual([]);
    });
  });
});

describe("a port owner that is gone without a DEL", { timeout: 120_000 * PATIENCE }, () => {
  /** Its namespace is gone, and with it the node's end of its veth pair. */
  async function perish({ namespace, inside }: Pod): Promise<void> {
    await inside.close();
    await removeNamespace(namespace.name);
    const links = () => bed.node.json<{ ifalias?: string }[]>("ip", ["-j", "link"]);
    await eventually(async () =>
      expect((await links()).filter(({ ifalias }) => ifalias?.includes("/c1/"))).toEqual([]),
    );
  }
  const refused = async (next: Pod) => {
    const before = await ports.elements();
    const { json } = await next.add();
    expect(json).toMatchObject({ code: 100, msg: /is taken by container c1, interface eth0, network net$/ });
    expect(await ports.elements()).toEqual(before);
  };

  test("loses all its ports to the next pod that requests any of them", async () => {
    const old = await pod("c1", 81);
    const next = await pod("c2", 82);
    await old.add();
    await serve(old);
    const via = { transport: "udp", from: 40_002 } as const;
    for (const of of FAMILIES) expect(await outside.seenBy(UPLINK[of], HOST_PORT, via)).toBe(OUTSIDE[of]);
    expect(await bed.node.pings("10.22.0.2")).toBe(true);
    await perish(old);
    expect(await next.add()).toMatchObject({ status: 0 });
    await serve(next);
    expect(await ports.elements("cni:net/c1/")).toEqual([]);
    for (const of of FAMILIES) {
      expect(await outside.seenBy(UPLINK[of], HOST_PORT)).toBe(OUTSIDE[of]);
      expect(await outside.seenBy(UPLINK[of], HOST_PORT, via)).toBe(OUTSIDE[of]);
    }
    // The DEL of the old pod arrives late.
    expect(await ports.call("DEL", old.input(), old.call)).toMatchObject({ status: 0 });
    expect(await outside.seenBy(UPLINK[4], HOST_PORT)).toBe(OUTSIDE[4]);
  });

  test("loses them if its address has been assigned to another attachment", async () => {
    const old = await pod("c1", 81);
    await old.add();
    await perish(old);
    // As after a reset: the reservations are gone, and the first address is assigned again.
    await bed.node.succeed("sh", ["-c", "rm -rf /var/lib/cni/networks"]);
    const other = await pod("c3", 83);
    expect(await bed.call(OURS, "bridge", "ADD", BRIDGE, other.call)).toMatchObject({ status: 0 });
    expect(await other.inside.pings(GATEWAY[4])).toBe(true);
    const next = await pod("c2", 82);
    expect(await next.add()).toMatchObject({ status: 0 });
    expect(await ports.elements("cni:net/c1/")).toEqual([]);
  });

  test("keeps them while the runtime has its result, until its namespace is gone too", async () => {
    const old = await pod("c1", 81);
    await old.add();
    await perish(old);
    await ports.rememberAt("c1", bed.podNamespace.path);
    const next = await pod("c2", 82);
    await refused(next);
    await ports.rememberAt("c1", old.namespace.path);
    expect(await next.add()).toMatchObject({ status: 0 });
  });

  test("keeps them while a link has its mark, even if all else is gone", async () => {
    const old = await pod("c1", 81);
    await old.add();
    await perish(old);
    await bed.node.succeed("ip", ["link", "add", "left", "type", "bridge"]);
    await bed.node.succeed("ip", ["link", "set", "left", "alias", "cni:net/c1/eth0"]);
    await refused(await pod("c2", 82));
  });

  test.each(FAMILIES)("keeps them while its IPv%d address answers, on whichever link", async (of) => {
    const old = await pod("c1", 81);
    // The reference does not mark links.
    const { json } = await bed.call(REFERENCE, "bridge", "ADD", BRIDGE, old.call);
    const ips = json.ips.filter(({ address }: { address: string }) => address.includes(":") === (of === 6));
    expect(await ports.call("ADD", old.input({ ...json, ips }), old.call)).toMatchObject({ status: 0 });
    await refused(await pod("c2", 82));
  });

  test("keeps them while a route to its address alone exists", async () => {
    const old = await pod("c1", 81);
    await old.add();
    await perish(old);
    await bed.node.succeed("ip", ["link", "add", "cable", "type", "bridge"]);
    await bed.node.succeed("ip", ["link", "set", "cable", "up"]);
    await bed.node.succeed("ip", ["route", "add", "10.22.0.2/32", "dev", "cable"]);
    await refused(await pod("c2", 82));
    await bed.node.succeed("ip", ["route", "del", "10.22.0.2/32", "dev", "cable"]);
    expect(await (await pod("c4", 84)).add()).toMatchObject({ status: 0 });
  });
});
