/** Hostile input: damaged configurations, damaged JSON text, random environments. */
import fc from "fast-check";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Keys that plugins read, with values of the right type, so that most of a derived configuration is parsed. */
export const GOOD_CONFIGURATIONS: readonly Readonly<Record<string, Json>>[] = [
  {
    ...{
      bridge: "cni0",
      isDefaultGateway: true,
      forceAddress: true,
      ipMasq: true,
      mtu: 1400,
      hairpinMode: true,
      vlan: 5,
    },
    ...{ vlanTrunk: [{ minID: 2, maxID: 4 }, { id: 7 }], macspoofchk: true, portIsolation: true, enabledad: true },
    ipam: {
      type: "host-local",
      ranges: [[{ subnet: "10.1.0.0/24", rangeStart: "10.1.0.10" }]],
      routes: [{ dst: "0.0.0.0/0" }],
    },
    runtimeConfig: { mac: "02:00:00:00:00:01", ips: ["10.1.0.9/24"] },
  },
  {
    ...{ master: "eth0", mode: "bridge", vlanId: 4, linkInContainer: false, bcqueuelen: 100 },
    ...{ device: "eth1", owner: 1, group: 2, multiQueue: true, guardSenders: true },
    ipam: {
      type: "static",
      addresses: [{ address: "10.1.0.2/24", gateway: "10.1.0.1" }],
      dns: { nameservers: ["10.1.0.53"] },
    },
    args: { cni: { ips: ["10.1.0.7/24"], mac: "02:00:00:00:00:02" } },
  },
  {
    ...{ snat: true, masqAll: false, conditionsV4: [], backend: "nftables", ingressPolicy: "same-bridge" },
    runtimeConfig: {
      portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "192.0.2.1" }],
      bandwidth: { ingressRate: 1_000_000, ingressBurst: 100_000, egressRate: 1_000_000, egressBurst: 100_000 },
    },
    prevResult: {
      cniVersion: "1.1.0",
      interfaces: [{ name: "cni0" }, { name: "veth1" }, { name: "eth0", sandbox: "/run/netns/a" }],
      ips: [
        { address: "10.1.0.2/24", gateway: "10.1.0.1", interface: 2 },
        { address: "fd00::2/64", interface: 2 },
      ],
      routes: [{ dst: "0.0.0.0/0" }],
    },
  },
  {
    ...{
      sysctl: { "net.core.somaxconn": "500" },
      mac: "02:00:00:00:00:03",
      promisc: true,
      txQLen: 100,
      allmulti: true,
    },
    ...{ subnetFile: "/run/flannel/subnet.env", delegate: { type: "bridge" }, vrfname: "blue", table: 101 },
    ...{ runDir: "/run/weft", vni: 1, port: 8472, peers: [{ subnet: "10.2.0.0/24", address: "192.0.2.2" }] },
    "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }],
  },
];

/** Values that are valid somewhere in a configuration. */
const value: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(
    null,
    true,
    false,
    0,
    -1,
    1,
    65_536,
    2 ** 53,
    1.5,
    "",
    " ",
    "\u0000",
    "../..",
    "a/b",
    "ü",
    {},
    [],
    [[]],
    [null],
  ),
  fc.constantFrom<Json>(
    "10.1.0.1",
    "10.1.0.0/24",
    "10.1.0.5/33",
    "::",
    "fd00::/129",
    "::ffff:10.1.0.1",
    "host-local",
    "ff:ff",
  ),
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.double(),
  fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>,
);

/** One of the configurations above with a few values changed, removed or misspelt. */
export const configuration: fc.Arbitrary<Json> = fc
  .tuple(
    fc.constantFrom(...GOOD_CONFIGURATIONS),
    fc.constantFrom("0.1.0", "0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"),
    fc.array(fc.tuple(fc.nat(), fc.constantFrom("replace", "drop", "respell", "repeat"), value), { maxLength: 4 }),
  )
  .map(([good, cniVersion, changes]) =>
    changes.reduce<Json>((json, change) => changed(json, ...change), { cniVersion, name: "net", type: "x", ...good }),
  );

function changed(json: Json, place: number, how: string, given: Json): Json {
  const copy = structuredClone(json);
  const places = containersOf(copy);
  const container = places[place % places.length] ?? copy;
  if (Array.isArray(container)) {
    if (how === "repeat") container.push(...container);
    else if (how === "drop") container.pop();
    else container[0] = given;
    return copy;
  }
  if (typeof container !== "object" || container === null) return given;
  const keys = Object.keys(container);
  const key = keys[place % Math.max(1, keys.length)] ?? "new";
  if (how === "respell") container[key.toUpperCase()] = container[key] ?? null;
  if (how === "drop" || how === "respell") delete container[key];
  else container[key] = how === "repeat" ? [container[key] ?? null, container[key] ?? null] : given;
  return copy;
}

function containersOf(json: Json): Json[] {
  if (typeof json !== "object" || json === null) return [];
  return [json, ...Object.values(json).flatMap(containersOf)];
}

/** Standard input: mostly JSON, sometimes cut or with flipped bits, sometimes random. */
export const input: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 6, arbitrary: configuration.map((json) => encode(JSON.stringify(json))) },
  { weight: 2, arbitrary: flipped(configuration.map((json) => encode(JSON.stringify(json)))) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
);

/** Flips some bits of some bytes, and may cut off the end. */
export function flipped(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(bytes, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 7 })), { maxLength: 4 }), fc.option(fc.nat(), { freq: 4 }))
    .map(([original, flips, cut]) => {
      const copy = original.slice(0, cut === null ? original.length : cut % (original.length + 1));
      for (const [at, bit] of copy.length === 0 ? [] : flips) {
        const place = at % copy.length;
        copy[place] = (copy[place] ?? 0) ^ (1 << bit);
      }
      return copy;
    });
}

const mostly = (good: string, ...others: string[]) =>
  fc.oneof({ weight: 8, arbitrary: fc.constant(good) }, { weight: 1, arbitrary: fc.constantFrom("", ...others) });

/** CNI_* variables; the runtime's namespace is /run/netns/a. */
export const environment: fc.Arbitrary<Record<string, string>> = fc.record({
  CNI_COMMAND: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom("ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION") },
    { weight: 1, arbitrary: fc.string({ maxLength: 10 }) },
  ),
  CNI_CONTAINERID: mostly("c1", "../c1", "ü", "a".repeat(300)),
  CNI_NETNS: mostly("/run/netns/a", "/run/netns/none", "/etc/passwd", "a".repeat(5000)),
  CNI_IFNAME: mostly("eth0", "a".repeat(16), ".", "a/b", "lo"),
  CNI_PATH: mostly("/opt/cni/bin", "/", ":::", "/nowhere"),
  CNI_ARGS: mostly("IgnoreUnknown=1;K8S_POD_NAME=a", "IP=10.1.0.3", "=", ";;", "MAC=zz", "IP=10.1.0.4/24;GATEWAY=x"),
  CNI_NETNS_OVERRIDE: mostly("", "1", "maybe"),
});

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
