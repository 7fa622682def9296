import { BlockingNetlink } from "../netlink/blocking.ts";
import type { FakeNftables } from "./fake-nftables.ts";

/** Returns a blocking netlink connection to an nf_tables in memory. */
export function fakeBlockingNetlink(nftables: FakeNftables): BlockingNetlink {
  const answers: Uint8Array[] = [];
  return new BlockingNetlink(
    {
      send: (datagram) => answers.push(...nftables.answer(datagram, 1)),
      receive: () => answers.shift() ?? new Uint8Array(),
      close: () => undefined,
    },
    "the fake",
  );
}
