/** The kernel, in a separate namespace, as a side of the contract. */
import { execFileSync } from "node:child_process";
import { SYSTEM_CLOCK } from "../../../pkg/cluster/clock.ts";
import { ByteWriter } from "../../../pkg/netlink/bytes.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { type Encodable, splitDatagram, writeRequest } from "../../../pkg/netlink/message.ts";
import { NFPROTO_UNSPEC, NFT_MSG_DELTABLE } from "../../../pkg/netlink/nftables.ts";
import { generationRequest } from "../../../pkg/netlink/ruleset.ts";
import type { EventNetlinkSocket } from "../../../pkg/sys/event-netlink.ts";
import { change } from "../../convergence/change.ts";
import { openKernelSocket } from "./kernel-socket.ts";
import type { Side } from "./side.ts";

/** A sequence number that no case uses. */
const QUESTION = 0x7fff_ffff;
/** NFNLGRP_NFTABLES */
const GROUP = 7;

export class KernelSide implements Side {
  readonly netlink: EventedNetlink;
  readonly #namespace: string;
  readonly #listener: EventNetlinkSocket;
  #heard: number[] = [];
  #onAnswer: () => void = () => undefined;

  private constructor(namespace: string, socket: EventNetlinkSocket, listener: EventNetlinkSocket) {
    this.#namespace = namespace;
    this.netlink = asNetlink(socket);
    this.#listener = listener;
    listener.onDatagram((datagram) => {
      for (const { type, sequence } of splitDatagram(datagram)) {
        if (sequence === QUESTION) this.#onAnswer();
        else this.#heard.push(type);
      }
    });
  }

  static async open(namespace: string): Promise<KernelSide> {
    execFileSync("ip", ["netns", "add", namespace]);
    return new KernelSide(namespace, await openKernelSocket(namespace), await openKernelSocket(namespace, [GROUP]));
  }

  /** Deletes the objects of the previous case. */
  async empty(): Promise<void> {
    await this.netlink.commit([change(NFT_MSG_DELTABLE, "flush ruleset", { family: NFPROTO_UNSPEC }, {})]);
    await this.heard();
  }

  async openProgram() {
    const netlink = asNetlink(await openKernelSocket(this.#namespace));
    return { netlink, close: () => netlink.close() };
  }

  /** Sends the question through the listening socket, so that earlier notifications arrive before the answer. */
  async heard(): Promise<readonly number[]> {
    await new Promise<void>((resolve) => {
      this.#onAnswer = resolve;
      this.#listener.send(datagramOf(generationRequest()));
    });
    const heard = this.#heard;
    this.#heard = [];
    return heard;
  }

  close(): void {
    this.netlink.close();
    this.#listener.close();
    execFileSync("ip", ["netns", "del", this.#namespace]);
  }
}

function asNetlink(socket: EventNetlinkSocket): EventedNetlink {
  return new EventedNetlink(socket, "the kernel", SYSTEM_CLOCK);
}

function datagramOf(question: Encodable): Uint8Array {
  const writer = new ByteWriter();
  writeRequest(writer, question, QUESTION, 0);
  return writer.finish();
}
