/** A test bed whose node has a link, eth0, to a machine outside: for plugins that attach pods to the host's link. */
import type { Inside } from "./inside.ts";
import { type Answer, type CallOptions, OURS, PluginBed } from "./plugin-bed.ts";

export class HostLink {
  readonly bed: PluginBed;
  /** The outside machine's end of the link is far0. */
  readonly outside: Inside;

  private constructor(bed: PluginBed, outside: Inside) {
    this.bed = bed;
    this.outside = outside;
  }

  /** `addresses`, with prefix lengths, are the addresses of the outside machine. */
  static async make(addresses: readonly string[]): Promise<HostLink> {
    const bed = await PluginBed.make();
    const { namespace, inside } = await bed.anotherPod("outside");
    const link = new HostLink(bed, inside);
    const peer = ["peer", "name", "far0", "netns", namespace.name];
    await bed.node.succeed("ip", ["link", "add", "eth0", "type", "veth", ...peer]);
    await bed.node.succeed("ip", ["link", "set", "eth0", "up"]);
    await inside.succeed("ip", ["link", "set", "far0", "up"]);
    await link.addressOutside("far0", addresses);
    return link;
  }

  async addressOutside(device: string, addresses: readonly string[]): Promise<void> {
    for (const address of addresses) {
      const atOnce = address.includes(":") ? ["nodad"] : [];
      await this.outside.succeed("ip", ["address", "add", address, "dev", device, ...atOnce]);
    }
  }

  /** The hardware address of the node's end. */
  async mac(): Promise<string> {
    const [shown] = await this.bed.node.json<{ address: string }[]>("ip", ["-j", "link", "show", "eth0"]);
    return shown?.address ?? "";
  }

  call(plugin: string, verb: string, input: unknown, options: CallOptions): Promise<Answer> {
    return this.bed.call(OURS, plugin, verb, input, options);
  }

  close(): Promise<void> {
    return this.bed.close();
  }
}
