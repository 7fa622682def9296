import { openNetfilter } from "../../pkg/netlink/blocking.ts";
import type { Message } from "../../pkg/netlink/message.ts";
import { readRuleset } from "../../pkg/netlink/ruleset.ts";
import type { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";

const READER_PORT = 0xfff0;

/** The messages that an executable would read. */
export function answersTo(nftables: FakeNftables, questions: Parameters<typeof readRuleset>[1]): readonly Message[] {
  const system = new FakeSystem({ netlink: (datagram) => nftables.answer(datagram, READER_PORT) });
  return readRuleset(openNetfilter(system), questions);
}
