/** Reads and sets checksum offload of devices through ethtool's netlink interface. */
import type { LinkReference } from "../../../pkg/kernel/link.ts";
import { offloadQuestion, readOffload, setOffload } from "../../../pkg/kernel/offload.ts";
import { ETHTOOL_GENL_NAME } from "../../../pkg/netlink/ethtool.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { familyQuestion, readFamily } from "../../../pkg/netlink/generic.ts";
import type { Message, Query, Request } from "../../../pkg/netlink/message.ts";
import type { Offload } from "./checksum-guard.ts";

export class VtepOffload implements Offload {
  readonly #netlink: Pick<EventedNetlink, "exchange">;
  #family: number | undefined;

  constructor(netlink: Pick<EventedNetlink, "exchange">) {
    this.#netlink = netlink;
  }

  async isOn(device: LinkReference): Promise<boolean> {
    const family = await this.#findFamily();
    return readOffload(family, await this.#ask(offloadQuestion(family, device)));
  }

  async set(device: LinkReference, isOn: boolean): Promise<void> {
    await this.#ask(setOffload(await this.#findFamily(), device, isOn));
  }

  async #findFamily(): Promise<number> {
    this.#family ??= readFamily(await this.#ask(familyQuestion(ETHTOOL_GENL_NAME)));
    if (this.#family === undefined)
      throw new Error("this kernel has no ethtool netlink interface; Linux 5.6 or newer is required");
    return this.#family;
  }

  async #ask(question: Request | Query): Promise<readonly Message[]> {
    const [reply] = await this.#netlink.exchange([question]);
    if (reply?.error !== undefined) throw reply.error;
    return reply?.messages ?? [];
  }
}
