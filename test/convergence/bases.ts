import { listenToGenerations } from "../../daemon/core/generations.ts";
import { BaseChains } from "../../pkg/foreign/base-chains.ts";
import type { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { FakeNftablesSocket } from "../../pkg/nft/fake-nftables-socket.ts";

const LISTENER_PORT = 0xfff1;

/** The base chains that the fake announces, as weftd records them. */
export function heardBases(nftables: FakeNftables): BaseChains {
  const bases = new BaseChains();
  listenToGenerations(new FakeNftablesSocket(nftables, LISTENER_PORT), {
    onBaseChains: (chains) => bases.announced(chains),
    onUnknownChains: () => bases.forget(),
    onTable: () => undefined,
    onChange: () => undefined,
    onOverrun: () => undefined,
    onBroken: (error) => {
      throw error;
    },
  });
  return bases;
}
