/** A node with an uplink to a machine outside, and pods whose ports the node maps. */
import { expect } from "vitest";
import type { Transport } from "./agent.ts";
import type { Inside } from "./inside.ts";
import { type Answer, type CallOptions, OURS, PluginBed, type REFERENCE } from "./plugin-bed.ts";
import { PATIENCE } from "./process.ts";

export const BRIDGE = {
  cniVersion: "1.1.0",
  name: "net",
  type: "bridge",
  bridge: "cni0",
  isDefaultGateway: true,
  hairpinMode: true,
  ipam: { type: "host-local", ranges: [[{ subnet: "10.22.0.0/24" }], [{ subnet: "fd00:22::/64" }]] },
};
export const UPLINK = { 4: "198.51.100.1", 6: "2001:db8:51::1" } as const;
export const OUTSIDE = { 4: "198.51.100.2", 6: "2001:db8:51::2" } as const;
export const GATEWAY = { 4: "10.22.0.1", 6: "fd00:22::1" } as const;
export const POD = { 4: "10.22.0.2", 6: "fd00:22::2" } as const;
export const FAMILIES = [4, 6] as const;
export const [HOST_PORT, POD_PORT] = [8080, 80];
const SILENCE = { timeoutMs: 400 * PATIENCE };

export interface Mapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: string;
  readonly hostIP?: string;
}

export const mapping = (protocol: string, more: Partial<Mapping> = {}): Mapping => ({
  ...{ hostPort: HOST_PORT, containerPort: POD_PORT, protocol },
  ...more,
});

export const portmap = (portMappings: readonly object[], prevResult?: unknown, more: object = {}) => ({
  ...{ cniVersion: "1.1.0", name: "net", type: "portmap", capabilities: { portMappings: true } },
  ...{ runtimeConfig: { portMappings }, ...(prevResult === undefined ? {} : { prevResult }), ...more },
});

const withoutDad = (inside: Inside) =>
  inside.succeed("sh", ["-c", "for of in all default; do echo 0 >/proc/sys/net/ipv6/conf/$of/accept_dad; done"]);

export class PortBed {
  readonly bed: PluginBed;
  readonly outside: Inside;

  private constructor(bed: PluginBed, outside: Inside) {
    this.bed = bed;
    this.outside = outside;
  }

  static async make(): Promise<PortBed> {
    const bed = await PluginBed.make();
    const { namespace, inside: outside } = await bed.anotherPod("outside");
    for (const side of [bed.node, outside]) await withoutDad(side);
    const peer = ["type", "veth", "peer", "name", "eth0", "netns", namespace.name];
    await bed.node.succeed("ip", ["link", "add", "uplink", ...peer]);
    await bed.node.succeed("ip", ["link", "set", "uplink", "up"]);
    await outside.succeed("ip", ["link", "set", "eth0", "up"]);
    const ports = new PortBed(bed, outside);
    await ports.giveNode(UPLINK[4], UPLINK[6]);
    await ports.giveOutside(OUTSIDE[4], OUTSIDE[6]);
    return ports;
  }

  giveNode(...addresses: readonly string[]): Promise<void> {
    return give(this.bed.node, "uplink", addresses);
  }

  giveOutside(...addresses: readonly string[]): Promise<void> {
    return give(this.outside, "eth0", addresses);
  }

  call(verb: string, input: object, options: CallOptions = {}): Promise<Answer> {
    return this.bed.call(OURS, "portmap", verb, input, options);
  }

  /**
   * Attaches a pod by `bridge` (weft's or the reference's), then maps its ports by weft's `portmap`. Returns portmap's
   * answer.
   */
  async attach(
    mappings: readonly object[],
    options: CallOptions = {},
    more: object = {},
    bin: typeof OURS | typeof REFERENCE = OURS,
  ): Promise<Answer> {
    const { json } = await this.bed.call(bin, "bridge", "ADD", BRIDGE, options);
    return this.call("ADD", portmap(mappings, json, more), options);
  }

  /** The elements of weft's maps in nft syntax, by owner. */
  async elements(owner = ""): Promise<string[]> {
    const { nftables } = JSON.parse(await this.bed.node.succeed("nft", ["-j", "list", "ruleset"])) as {
      nftables: { map?: { table: string; name: string; elem?: unknown[] } }[];
    };
    return nftables
      .flatMap(({ map }) =>
        map?.table === "weft_portmap" ? (map.elem ?? []).map((element) => [map.name, element]) : [],
      )
      .map((element) => JSON.stringify(element))
      .filter((element) => element.includes(owner));
  }

  /** Makes the runtime's cache hold results of these containers, with their namespace at `netns`. */
  async remember(...containerIds: readonly string[]): Promise<void> {
    for (const containerId of containerIds) await this.rememberAt(containerId, this.bed.podNamespace.path);
  }

  async rememberAt(containerId: string, netns: string): Promise<void> {
    const script = 'mkdir -p /var/lib/cni/results && printf "%s" "$1" >"/var/lib/cni/results/net-$0-eth0"';
    await this.bed.node.succeed("sh", ["-c", script, containerId, JSON.stringify({ kind: "cniCacheV1", netns })]);
  }

  close(): Promise<void> {
    return this.bed.close();
  }
}

export const silent = (from: Inside, host: string, port: number, transport: Transport = "tcp") =>
  expect(from.seenBy(host, port, { transport, ...SILENCE }), `${host}:${port}/${transport}`).rejects.toThrow();

async function give(inside: Inside, dev: string, addresses: readonly string[]): Promise<void> {
  for (const address of addresses) {
    await inside.succeed("ip", ["address", "add", `${address}/${address.includes(":") ? 64 : 24}`, "dev", dev]);
  }
}
