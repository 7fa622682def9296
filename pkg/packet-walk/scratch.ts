/** The values that rules write into a packet for later rules: its mark and its priority. */
import { NFT_META } from "../netlink/nftables.ts";
import { hostOrder, type Known } from "./packet.ts";

export class Scratch {
  readonly #values = new Map<number, Known>([
    [NFT_META.mark, hostOrder(0)],
    [NFT_META.packetPriority, hostOrder(0)],
  ]);
  #isTentative = false;

  /** Undefined for other keys. */
  get(key: number): Known | undefined {
    return this.#values.get(key);
  }

  set(key: number, value: Known): void {
    const present = this.#values.get(key);
    if (present === undefined) return;
    this.#values.set(
      key,
      this.#isTentative ? value.map((byte, at) => (byte === present[at] ? byte : undefined)) : value,
    );
  }

  /**
   * Runs `work`. If `isSo`, it is uncertain whether the values that `work` sets take effect, so bytes that change
   * become unknown.
   */
  tentatively<T>(isSo: boolean, work: () => T): T {
    const before = this.#isTentative;
    this.#isTentative ||= isSo;
    const result = work();
    this.#isTentative = before;
    return result;
  }
}
