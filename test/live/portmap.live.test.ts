/**
 * portmap after bridge on a real kernel: tested by what answers on the node's ports, and by what remains afterwards.
 *
 * Longer than 400 lines: all cases are of one plugin, on one bed.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Inside } from "./harness/inside.ts";
import { describeWhere, kernelCan } from "./harness/kernel.ts";
import { OURS, type PluginBed, REFERENCE } from "./harness/plugin-bed.ts";
import {
  BRIDGE,
  FAMILIES,
  GATEWAY,
  HOST_PORT,
  type Mapping,
  mapping,
  OUTSIDE,
  POD,
  POD_PORT,
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

const call: PortBed["call"] = (...args) => ports.call(...args);
const attach: PortBed["attach"] = (...args) => ports.attach(...args);
const elements: PortBed["elements"] = (...args) => ports.elements(...args);

/** A pod with both servers on its port, mapped. */
async function serve(more: object = {}, mappings: readonly object[] = [mapping("tcp"), mapping("udp")]) {
  const added = await attach(mappings, {}, more);
  expect(added).toMatchObject({ status: 0 });
  for (const transport of ["tcp", "udp"] as const) await bed.pod.listen(POD_PORT, transport);
  return added;
}

/** Opens sockets that Node.js does not support. Uses no modules, so that any perl works: the numbers are Linux's. */
const perl = (inside: Inside, script: string, args: readonly string[] = []) =>
  inside.succeed("perl", [
    "-e",
    `sub bytes { pack("C4", split(/\\./, $_[0])) } sub at { pack("Sna4x8", 2, $_[0], bytes($_[1])) } ${script}`,
    ...args,
  ]);

describe.each(["tcp", "udp"] as const)("a mapped %s port", (transport) => {
  const via = { transport };

  test("answers from everywhere, and sees the client's own address if its replies pass the node", async () => {
    const neighbour = await bed.anotherPod("neighbour");
    await serve();
    await attach([], { containerId: "c2", netns: neighbour.namespace.path });
    for (const of of FAMILIES) {
      expect(await outside.seenBy(UPLINK[of], HOST_PORT, via), "outside").toBe(OUTSIDE[of]);
      expect(await bed.node.seenBy(UPLINK[of], HOST_PORT, via), "the node").toBe(UPLINK[of]);
      expect(await neighbour.inside.seenBy(UPLINK[of], HOST_PORT, via), "a neighbour").toBe(GATEWAY[of]);
      expect(await bed.pod.seenBy(UPLINK[of], HOST_PORT, via), "the pod itself").toBe(GATEWAY[of]);
      expect(await bed.pod.seenBy(GATEWAY[of], HOST_PORT, via), "by the gateway's address").toBe(GATEWAY[of]);
    }
    expect(await bed.node.seenBy("127.0.0.1", HOST_PORT, via), "loopback").toBe(GATEWAY[4]);
    expect(await bed.node.seenBy("127.0.0.9", HOST_PORT, via), "loopback").toBe(GATEWAY[4]);
  });

  test("is refused at once on ::1, whose packets cannot reach a pod", async () => {
    await serve();
    const began = performance.now();
    await expect(bed.node.seenBy("::1", HOST_PORT, via)).rejects.toThrow(/ECONNREFUSED/);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test("does not answer after DEL, and nothing of it is left", async () => {
    await serve();
    expect(await elements("cni:net/c1/eth0")).toHaveLength(10);
    expect(await call("DEL", portmap([mapping("tcp"), mapping("udp")]))).toEqual({
      ...{ status: 0, output: "", json: undefined },
    });
    expect(await elements()).toEqual([]);
    for (const of of FAMILIES) {
      await silent(outside, UPLINK[of], HOST_PORT, transport);
      await silent(bed.node, UPLINK[of], HOST_PORT, transport);
    }
    await silent(bed.node, "127.0.0.1", HOST_PORT, transport);
    await silent(bed.pod, UPLINK[4], HOST_PORT, transport);
  });

  test("with one address answers on that address only", async () => {
    await bed.node.succeed("ip", ["address", "add", "198.51.100.9/24", "dev", "uplink"]);
    await serve({}, [mapping(transport, { hostIP: "198.51.100.9" })]);
    expect(await outside.seenBy("198.51.100.9", HOST_PORT, via)).toBe(OUTSIDE[4]);
    expect(await bed.pod.seenBy("198.51.100.9", HOST_PORT, via)).toBe(GATEWAY[4]);
    await silent(outside, UPLINK[4], HOST_PORT, transport);
    await silent(outside, UPLINK[6], HOST_PORT, transport);
    await silent(bed.node, "127.0.0.1", HOST_PORT, transport);
  });

  test("with 127.0.0.1 answers the node only", async () => {
    await serve({}, [mapping(transport, { hostIP: "127.0.0.1" })]);
    expect(await bed.node.seenBy("127.0.0.1", HOST_PORT, via)).toBe(GATEWAY[4]);
    await silent(outside, UPLINK[4], HOST_PORT, transport);
  });
});

const canSctp = kernelCan("SCTP", "perl -e 'exit !socket(my $s, 2, 1, 132)'");

describeWhere(canSctp)("sctp", () => {
  test("a mapped sctp port answers from outside, from the node, its loopback and the pod itself", async () => {
    await attach([mapping("sctp")]);
    const server = perl(
      bed.pod,
      `socket(my $server, 2, 1, 132) or die "socket: $!"; bind($server, at(80, "0.0.0.0")) or die "bind: $!";
       listen($server, 5) or die "listen: $!";
       for (1 .. 4) {
         my $from = accept(my $client, $server) or die "accept: $!";
         syswrite($client, join(".", unpack("x4C4", $from)));
       }`,
    );
    await new Promise((resolve) => setTimeout(resolve, 500 * PATIENCE));
    const seenBy = (from: Inside, host: string) =>
      perl(
        from,
        `socket(my $s, 2, 1, 132) or die "socket: $!"; connect($s, at(8080, $ARGV[0])) or die "connect: $!";
         sysread($s, my $answer, 100); print $answer;`,
        [host],
      );
    expect(await seenBy(outside, UPLINK[4])).toBe(OUTSIDE[4]);
    expect(await seenBy(bed.node, UPLINK[4])).toBe(UPLINK[4]);
    expect(await seenBy(bed.node, "127.0.0.1")).toBe(GATEWAY[4]);
    expect(await seenBy(bed.pod, UPLINK[4])).toBe(GATEWAY[4]);
    await server;
  });
});

describe("options", () => {
  test("masqAll masquerades all clients with the node's address", async () => {
    await serve({ masqAll: true });
    for (const of of FAMILIES) expect(await outside.seenBy(UPLINK[of], HOST_PORT)).toBe(GATEWAY[of]);
  });

  test("without snat no client is masqueraded, and the node's loopback is not forwarded", async () => {
    await serve({ snat: false });
    expect(await outside.seenBy(UPLINK[4], HOST_PORT)).toBe(OUTSIDE[4]);
    await silent(bed.pod, UPLINK[4], HOST_PORT);
    await silent(bed.node, "127.0.0.1", HOST_PORT);
    expect(await bed.node.succeed("cat", ["/proc/sys/net/ipv4/conf/cni0/route_localnet"])).toBe("0\n");
  });

  test("markMasqBit chooses the bit of the mark for each attachment", async () => {
    await serve({ markMasqBit: 5 });
    expect(await bed.pod.seenBy(UPLINK[4], HOST_PORT)).toBe(GATEWAY[4]);
    expect(await elements("mark-5")).toHaveLength(6);
    const rules = await bed.node.succeed("nft", ["list", "chain", "inet", "weft_portmap", "postrouting"]);
    expect(rules).toMatch(/meta mark & 0x00000020 == 0x00000020/);
    const other = await bed.anotherPod("other");
    const options = { containerId: "c2", netns: other.namespace.path };
    expect(await attach([mapping("tcp", { hostPort: 8081 })], options)).toMatchObject({ status: 0 });
    expect([(await elements("mark-5")).length, (await elements("mark-13")).length]).toEqual([6, 3]);
    expect(await bed.pod.seenBy(UPLINK[6], HOST_PORT)).toBe(GATEWAY[6]);
  });

  test.each<[object, number, RegExp]>([
    [{ backend: "ipvs" }, 7, /^backend: expected "nftables" or "iptables"/],
    [{ externalSetMarkChain: "KUBE-MARK-MASQ", markMasqBit: 13 }, 7, /^externalSetMarkChain/],
    [
      { conditionsV4: ["-m", "set", "--match-set", "x", "src"] },
      2,
      /^conditionsV4: \["-m","set".*"-m" is not supported/,
    ],
    [{ conditionsV6: ["-s", "10.0.0.0/8"] }, 7, /^conditionsV6: expected an IPv6 address/],
    [{ markMasqBit: 32 }, 7, /^markMasqBit: expected an integer from 0 to 31, got 32/],
  ])("rejects %j", async (more, code, message) => {
    const before = await bed.state();
    const { json, status } = await call("ADD", portmap([mapping("tcp")], { cniVersion: "1.1.0" }, more));
    expect({ status, code: json.code }).toEqual({ status: 1, code });
    expect(json.msg).toMatch(message);
    expect(await bed.state()).toEqual(before);
  });

  test.each<[object, RegExp]>([
    [{ backend: "iptables" }, /^portmap: backend "iptables": nftables maps the same connections[^\n]*\n$/],
    [{ externalSetMarkChain: "KUBE-MARK-MASQ" }, /^portmap: externalSetMarkChain "KUBE-MARK-MASQ": nftables[^\n]*\n$/],
    [{ conditionsV4: ["-s", "198.51.100.0/24"] }, /^portmap: conditionsV4: nftables[^\n]*\n$/],
  ])("uses nftables instead for %j, and prints one line about it", async (more, line) => {
    const { json } = await bed.call(OURS, "bridge", "ADD", BRIDGE);
    const input = portmap([mapping("tcp")], json, more);
    const env = { CNI_CONTAINERID: "c1", CNI_NETNS: bed.podNamespace.path, CNI_IFNAME: "eth0", CNI_PATH: OURS };
    const run = (verb: string) =>
      bed.node.run(`${OURS}/portmap`, [], JSON.stringify(input), { ...env, CNI_COMMAND: verb });
    const added = await run("ADD");
    expect(added.status).toBe(0);
    expect(added.stderr).toMatch(line);
    await bed.pod.listen(POD_PORT);
    expect(await outside.seenBy(UPLINK[4], HOST_PORT)).toBe(OUTSIDE[4]);
    expect(await run("CHECK")).toMatchObject({ status: 0, stderr: "" });
    expect(await run("DEL")).toMatchObject({ status: 0, stderr: "" });
    expect(await elements()).toEqual([]);
  });

  test("accepts backend nftables and empty conditions", async () => {
    expect(
      await attach([mapping("tcp")], {}, { backend: "nftables", conditionsV4: [], conditionsV6: null }),
    ).toMatchObject({ status: 0 });
  });
});

describe("a host port in use", () => {
  const taken = (mappings: readonly object[], previous: unknown) =>
    call("ADD", portmap(mappings, previous), { containerId: "c2" });
  const OTHER = { cniVersion: "1.1.0", ips: [{ address: "10.22.0.77/24" }, { address: "fd00:22::77/64" }] };

  test.each<[string, Mapping, Mapping]>([
    ["the same port", mapping("tcp"), mapping("tcp")],
    ["the same port in one family", mapping("tcp"), mapping("tcp", { hostIP: "::" })],
    ["the same address", mapping("udp", { hostIP: UPLINK[4] }), mapping("udp", { hostIP: UPLINK[4] })],
  ])("%s is an error with the holder's name, and changes nothing", async (_, first, second) => {
    await attach([first]);
    const before = await bed.state();
    const { status, json } = await taken([mapping("sctp"), second], OTHER);
    expect({ status, code: json.code }).toEqual({ status: 1, code: 100 });
    expect(json.msg).toMatch(/host port 8080\/(tcp|udp) of .* is taken by container c1, interface eth0, network net$/);
    expect(await bed.state()).toEqual(before);
  });

  test.each<[string, Mapping, Mapping]>([
    ["another protocol", mapping("tcp"), mapping("udp")],
    ["another port", mapping("tcp"), mapping("tcp", { hostPort: 8081 })],
    ["another address", mapping("tcp", { hostIP: UPLINK[4] }), mapping("tcp", { hostIP: "127.0.0.1" })],
    ["another family", mapping("tcp", { hostIP: "0.0.0.0" }), mapping("tcp", { hostIP: "::" })],
  ])("%s is free", async (_, first, second) => {
    await attach([first]);
    expect(await taken([second], OTHER)).toMatchObject({ status: 0 });
    expect((await elements("cni:net/c1/")).length).toBeGreaterThan(0);
    expect((await elements("cni:net/c2/")).length).toBeGreaterThan(0);
  });

  test("becomes free when its holder's address is assigned to the new pod", async () => {
    const { json } = await attach([mapping("tcp"), mapping("udp", { hostPort: 5353 })]);
    expect(await taken([mapping("tcp")], json)).toMatchObject({ status: 0 });
    expect(await elements("cni:net/c1/")).toEqual([]);
    // The DEL of the old attachment arrives late.
    expect(await call("DEL", portmap([mapping("tcp")]))).toMatchObject({ status: 0 });
    expect(await elements("cni:net/c2/")).toHaveLength(5);
  });

  test("is assigned to one of many concurrent requests, and the same port of one address to another", async () => {
    const options = Array.from({ length: 12 }, (_, at) => ({
      containerId: `many${at}`,
      mapping: mapping("tcp", at % 2 === 0 ? {} : { hostIP: UPLINK[4] }),
      previous: { cniVersion: "1.1.0", ips: [{ address: `10.22.0.${at + 10}/24` }] },
    }));
    await ports.remember(...options.map(({ containerId }) => containerId));
    const answers = await Promise.all(
      options.map(({ containerId, mapping: wanted, previous }) =>
        call("ADD", portmap([wanted], previous), { containerId }),
      ),
    );
    const codes = (isOwn: (at: number) => boolean) =>
      answers.filter((_, at) => isOwn(at)).map(({ status, json }) => (status === 0 ? 0 : json.code));
    for (const half of [(at: number) => at % 2 === 0, (at: number) => at % 2 === 1]) {
      expect(codes(half).sort()).toEqual([0, ...Array(5).fill(100)]);
    }
  });
});

test("30 concurrent attachments all work, and 30 DELs leave nothing", { timeout: 180_000 * PATIENCE }, async () => {
  const many = Array.from({ length: 30 }, (_, at) => ({
    containerId: `many${at}`,
    mappings: [mapping("tcp", { hostPort: 9000 + at }), mapping("udp", { hostPort: 9000 + at, hostIP: UPLINK[4] })],
    previous: {
      cniVersion: "1.1.0",
      ips: [{ address: `10.22.0.${at + 10}/24` }, { address: `fd00:22::${at + 10}/64` }],
    },
  }));
  const added = await Promise.all(
    many.map(({ containerId, mappings, previous }) => call("ADD", portmap(mappings, previous), { containerId })),
  );
  expect(added.filter(({ status }) => status !== 0)).toEqual([]);
  const checked = await Promise.all(
    many.map(({ containerId, mappings, previous }) => call("CHECK", portmap(mappings, previous), { containerId })),
  );
  expect(checked.filter(({ status }) => status !== 0)).toEqual([]);
  await Promise.all(many.map(({ containerId }) => call("DEL", portmap([]), { containerId })));
  expect(await elements()).toEqual([]);
});

describe("the node's loopback", () => {
  /** A datagram that the pod forges: its header has `from` and `to`, regardless of the pod's routes and addresses. */
  const forge = (from: string, to: string, port: number) =>
    perl(
      bed.pod,
      `my ($from, $to, $port, $gateway) = @ARGV;
       socket(my $raw, 2, 3, 255) or die "socket: $!";
       my $payload = "forged";
       my $udp = pack("n4a*", 4000, $port, 8 + length $payload, 0, $payload);
       my $ip = pack("CCnnnCCna4a4", 0x45, 0, 20 + length $udp, 1, 0, 64, 17, 0, bytes($from), bytes($to));
       send($raw, $ip . $udp, 0, at(0, $gateway)) or die "send: $!";`,
      [from, to, String(port), GATEWAY[4]],
    );

  async function dropped(): Promise<number> {
    const chain = await bed.node.succeed("nft", ["list", "chain", "inet", "weft_portmap", "loopback"]);
    return [...chain.matchAll(/counter packets (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
  }

  /** The data that a service on the node's 127.0.0.1 received within a while. */
  async function received(work: () => Promise<unknown>): Promise<string> {
    const heard = perl(
      bed.node,
      `socket(my $s, 2, 2, 17) or die "socket: $!"; bind($s, at(7777, "127.0.0.1")) or die "bind: $!";
       $SIG{ALRM} = sub { exit }; alarm ${2 * PATIENCE};
       recv($s, my $data, 100, 0); print $data;`,
    );
    await new Promise((resolve) => setTimeout(resolve, 500 * PATIENCE));
    await work();
    return await heard;
  }

  test("is not reached by a pod that forges the destination, only through the rule", async () => {
    await serve();
    expect(await bed.node.succeed("cat", ["/proc/sys/net/ipv4/conf/cni0/route_localnet"])).toBe("1\n");
    expect(await received(() => forge(POD[4], "127.0.0.1", 7777))).toBe("");
    expect(await dropped()).toBe(1);
    await bed.node.succeed("nft", ["flush", "chain", "inet", "weft_portmap", "loopback"]);
    expect(await received(() => forge(POD[4], "127.0.0.1", 7777))).toBe("forged");
  });

  test("cannot be forged as a source by a pod", async () => {
    await serve();
    // Otherwise the pod would send ARP requests for the gateway from the forged address, and get no answer.
    expect(await bed.pod.pings(GATEWAY[4])).toBe(true);
    await forge("127.0.0.1", GATEWAY[4], 7777);
    await eventually(async () => expect(await dropped()).toBe(1));
    expect(await bed.node.seenBy("127.0.0.1", HOST_PORT)).toBe(GATEWAY[4]);
  });
});

describe("UDP connections", () => {
  const tracked = () =>
    bed.node.succeed("sh", ["-c", "cat /proc/net/nf_conntrack 2>/dev/null | grep -c dport=8080 || :"]);

  test("that began before a port was mapped go to the pod at once", async () => {
    // Rules that match connections enable tracking.
    await attach([mapping("tcp", { hostPort: 1 })], {
      containerId: "c0",
      netns: (await bed.anotherPod("zero")).namespace.path,
    });
    await bed.node.listen(HOST_PORT, "udp");
    const via = { transport: "udp", from: 40_000 } as const;
    for (const of of FAMILIES) expect(await outside.seenBy(UPLINK[of], HOST_PORT, via)).toBe(OUTSIDE[of]);
    await attach([mapping("udp", { containerPort: 81 })]);
    await silent(outside, UPLINK[4], HOST_PORT, "udp");
    await bed.pod.listen(81, "udp");
    for (const of of FAMILIES) expect(await outside.seenBy(UPLINK[of], HOST_PORT, via)).toBe(OUTSIDE[of]);
    expect(await tracked()).not.toBe("");
  });

  test("of a deleted pod go to the next one at once", async () => {
    await serve({}, [mapping("udp")]);
    const next = await bed.anotherPod("next");
    const via = { transport: "udp", from: 40_001 } as const;
    for (const of of FAMILIES) expect(await outside.seenBy(UPLINK[of], HOST_PORT, via)).toBe(OUTSIDE[of]);
    expect(await call("DEL", portmap([]))).toMatchObject({ status: 0 });
    await bed.node.listen(HOST_PORT, "udp", UPLINK[4]);
    expect(await outside.seenBy(UPLINK[4], HOST_PORT, via)).toBe(OUTSIDE[4]);
    await attach([mapping("udp", { containerPort: 82 })], { containerId: "c2", netns: next.namespace.path });
    await next.inside.listen(82, "udp");
    for (const of of FAMILIES) expect(await outside.seenBy(UPLINK[of], HOST_PORT, via)).toBe(OUTSIDE[of]);
  });
});

describe("verbs", () => {
  test("ADD without ports changes nothing and passes prevResult on", async () => {
    const { json } = await bed.call(OURS, "bridge", "ADD", BRIDGE);
    const before = await bed.state();
    const added = await call("ADD", portmap([], json));
    expect(added).toMatchObject({ status: 0, json });
    expect(await bed.state()).toEqual(before);
  });

  test("ADD without prevResult is rejected", async () => {
    expect((await call("ADD", portmap([mapping("tcp")]))).json).toMatchObject({ code: 7, msg: /prevResult/ });
  });

  test("CHECK detects a missing element, a wrong element, a missing rule, route_localnet off and a missing table", async () => {
    const { json } = await serve();
    const check = () => call("CHECK", portmap([mapping("tcp"), mapping("udp")], json));
    const table = ["inet", "weft_portmap"];
    const nft = (...words: string[]) => bed.node.succeed("nft", words);
    const repair = () => call("ADD", portmap([mapping("tcp"), mapping("udp")], json));
    const damages: [() => Promise<unknown>, RegExp][] = [
      [() => nft("delete", "element", ...table, "ports4", "{ udp . 8080 }"), /udp \. 8080 .* is missing/],
      [
        () =>
          nft(
            `delete element inet weft_portmap ports4 { tcp . 8080 };
             add element inet weft_portmap ports4 { tcp . 8080 comment "cni:net/c1/eth0" : 10.22.0.3 . 80 }`,
          ),
        /tcp \. 8080 .* is missing/,
      ],
      [() => nft("flush", "map", ...table, "masquerade6"), /masquerade6 is missing/],
      [() => nft("flush", "chain", ...table, "loopback"), /rules of the table inet weft_portmap have been changed/],
      [() => nft("delete", "table", ...table), /table inet weft_portmap is missing/],
      [() => bed.node.succeed("sh", ["-c", "echo 0 >/proc/sys/net/ipv4/conf/cni0/route_localnet"]), /route_localnet/],
    ];
    expect(await check()).toMatchObject({ status: 0 });
    for (const [damage, message] of damages) {
      await damage();
      expect((await check()).json.msg).toMatch(message);
      expect(await repair()).toMatchObject({ status: 0 });
      expect(await check()).toMatchObject({ status: 0 });
      expect(await outside.seenBy(UPLINK[4], HOST_PORT)).toBe(OUTSIDE[4]);
    }
  });

  test("a damaged table is recreated with other attachments' ports", async () => {
    await serve({ markMasqBit: 7 });
    await bed.node.succeed("nft", ["flush", "chain", "inet", "weft_portmap", "translate"]);
    await silent(outside, UPLINK[4], HOST_PORT);
    const previous = { cniVersion: "1.1.0", ips: [{ address: "10.22.0.77/24" }] };
    await call("ADD", portmap([mapping("tcp", { hostPort: 1 })], previous), { containerId: "c2" });
    expect(await elements("cni:net/c1/")).toHaveLength(10);
    for (const of of FAMILIES) expect(await outside.seenBy(UPLINK[of], HOST_PORT)).toBe(OUTSIDE[of]);
    expect(await bed.pod.seenBy(UPLINK[4], HOST_PORT)).toBe(GATEWAY[4]);
  });

  test.each([
    ["ports and prevResult", { runtimeConfig: undefined }, {}],
    ["a namespace", {}, { netns: "" }],
    ["an existing namespace", {}, { netns: "/run/netns/weft-test-nobody" }],
    ["a configuration that ADD would accept", { backend: "iptables", markMasqBit: 99 }, {}],
  ])("DEL without %s removes everything, twice", async (_, more, options) => {
    await serve();
    for (let turn = 1; turn <= 2; turn++) {
      expect(await call("DEL", portmap([], undefined, more), options)).toMatchObject({ status: 0, output: "" });
      expect(await elements()).toEqual([]);
    }
  });

  test("DEL without a table succeeds and makes none", async () => {
    expect(await call("DEL", portmap([]))).toMatchObject({ status: 0 });
    expect(await bed.node.succeed("nft", ["list", "ruleset"])).toBe("");
  });

  test("GC removes what this network's invalid attachments left, and only that", async () => {
    const previous = (at: number) => ({ cniVersion: "1.1.0", ips: [{ address: `10.22.0.${at}/24` }] });
    const one = (at: number) => [mapping("udp", { hostPort: 7000 + at })];
    await call("ADD", portmap(one(1), previous(31)), { containerId: "c1" });
    await call("ADD", portmap(one(2), previous(32)), { containerId: "c2" });
    await call("ADD", portmap(one(3), previous(33), { name: "network" }), { containerId: "c3" });
    const valid = { "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] };
    expect(await call("GC", portmap([], undefined, valid))).toMatchObject({ status: 0, output: "" });
    const owners = async () =>
      (await Promise.all(["net/c1", "net/c2", "network/c3"].map((part) => elements(`cni:${part}/`)))).map(
        ({ length }) => length,
      );
    expect(await owners()).toEqual([0, 3, 3]);
    expect(await call("GC", portmap([], undefined, { "cni.dev/valid-attachments": [] }))).toMatchObject({ status: 0 });
    expect(await owners()).toEqual([0, 0, 3]);
  });

  test("STATUS succeeds", async () => {
    expect(await call("STATUS", portmap([]))).toEqual({ status: 0, output: "", json: undefined });
  });
});

describe("input from runtimes", () => {
  test.each<[object, RegExp]>([
    [{ hostPort: 0 }, /portMappings\[1\]\.hostPort: expected an integer from 1 to 65535, got 0/],
    [{ hostPort: 70_000 }, /portMappings\[1\]\.hostPort/],
    [{ containerPort: -1 }, /portMappings\[1\]\.containerPort/],
    [{ containerPort: "80" }, /portMappings\[1\]\.containerPort: expected an integer/],
    [{ protocol: "icmp" }, /portMappings\[1\]\.protocol: expected one of tcp, udp, sctp, got "icmp"/],
    [{ protocol: undefined }, /portMappings\[1\]\.protocol: expected one of tcp, udp, sctp, got nothing/],
    [{ hostIP: "garbage" }, /portMappings\[1\]\.hostIP: "garbage" is not an IP address/],
    [{ hostIP: "192.0.2.1/24" }, /portMappings\[1\]\.hostIP/],
    [
      { hostPort: 1 },
      /portMappings\[1\]\.hostPort: 1 is already mapped to another port by runtimeConfig\.portMappings\[0\]/,
    ],
  ])("%j is an error with its position, and changes nothing", async (wrong, message) => {
    const first = mapping("tcp", { hostPort: 1, containerPort: 1 });
    const { json } = await call("ADD", portmap([first, { ...mapping("tcp"), ...wrong }], { cniVersion: "1.1.0" }));
    expect(json.code).toBe(7);
    expect(json.msg).toMatch(message);
    expect(await bed.node.succeed("nft", ["list", "ruleset"])).toBe("");
  });

  test("accepts containerd's keys, protocols in capitals, and a repeated port", async () => {
    const containerd = { HostPort: HOST_PORT, ContainerPort: POD_PORT, Protocol: "TCP", HostIP: "" };
    await serve({}, [containerd, containerd, mapping("sctp")]);
    expect(await outside.seenBy(UPLINK[6], HOST_PORT)).toBe(OUTSIDE[6]);
    // nft prints the number if /etc/protocols is missing.
    const sctp = (await elements("cni:net/c1/")).filter((element) => /"sctp"|\b132\b/.test(element));
    expect(sctp).toHaveLength(5);
  });

  test("only the interface's first address of each family gets the ports", async () => {
    const previous = {
      cniVersion: "1.1.0",
      interfaces: [{ name: "cni0" }, { name: "eth0", sandbox: "/x" }],
      ips: [
        { address: "10.22.0.1/24", interface: 0 },
        { address: "10.22.0.8/24", interface: 1 },
        { address: "10.22.0.9/24", interface: 1 },
      ],
    };
    await call("ADD", portmap([mapping("tcp")], previous));
    const text = (await elements("cni:net/c1/")).join();
    expect(text).toContain("10.22.0.8");
    expect(text).not.toMatch(/10\.22\.0\.[19]"|fd00/);
  });

  test.each(["0.3.1", "0.4.0", "1.0.0", "1.1.0"])("the result in CNI %s equals the reference's", async (cniVersion) => {
    const previous = {
      cniVersion,
      interfaces: [
        { name: "cni0", mac: "02:00:00:00:00:01" },
        { name: "eth0", mac: "02:00:00:00:00:02", sandbox: "/x" },
      ],
      ips: [
        { address: "10.22.0.8/24", gateway: "10.22.0.1", interface: 1, ...(cniVersion < "1" ? { version: "4" } : {}) },
      ],
      routes: [{ dst: "0.0.0.0/0", gw: "10.22.0.1" }],
    };
    const input = portmap([mapping("tcp"), mapping("udp", { hostIP: UPLINK[4] })], previous, { cniVersion });
    const ours = await call("ADD", input);
    const theirs = await bed.call(REFERENCE, "portmap", "ADD", { ...input, backend: "nftables" });
    expect(theirs.status).toBe(0);
    const withoutEmptyDns = (json: object) =>
      JSON.parse(
        JSON.stringify(json, (key, value) => (key === "dns" && Object.keys(value).length === 0 ? undefined : value)),
      );
    expect(withoutEmptyDns(ours.json)).toEqual(withoutEmptyDns(theirs.json));
  });
});

test.each(["iptables", "nftables"])("DEL removes what the reference plugin has made with %s", async (backend) => {
  const { json } = await bed.call(OURS, "bridge", "ADD", BRIDGE);
  const input = portmap([mapping("tcp"), mapping("udp", { hostIP: UPLINK[4] })], json);
  expect(await bed.call(REFERENCE, "portmap", "ADD", { ...input, backend })).toMatchObject({ status: 0 });
  const rules = () => bed.node.succeed("nft", ["list", "ruleset"]);
  expect(await rules()).toContain("dnat");
  expect(await call("DEL", input)).toMatchObject({ status: 0 });
  expect(await rules()).not.toMatch(/dnat to|8080|10\.22\.0\.2|fd00:22::2/);
});
