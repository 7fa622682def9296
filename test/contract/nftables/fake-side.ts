/** The fake as a side of the contract. */
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { splitDatagram } from "../../../pkg/netlink/message.ts";
import { FakeNftables } from "../../../pkg/nft/fake-nftables.ts";
import { FakeNftablesSocket } from "../../../pkg/nft/fake-nftables-socket.ts";
import type { Side } from "./side.ts";

export function fakeSide(): Side {
  const nftables = new FakeNftables();
  let port = 1;
  let heard: number[] = [];
  const open = () => new EventedNetlink(new FakeNftablesSocket(nftables, port++), "the fake", new ManualClock());
  const listener = new FakeNftablesSocket(nftables, port++);
  listener.addMembership(7);
  listener.onDatagram((datagram) => heard.push(...splitDatagram(datagram).map(({ type }) => type)));
  return {
    netlink: open(),
    openProgram: async () => {
      const netlink = open();
      return { netlink, close: () => netlink.close() };
    },
    heard: async () => {
      await Promise.resolve();
      const types = heard;
      heard = [];
      return types;
    },
  };
}
