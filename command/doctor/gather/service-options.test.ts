/**
 * Tests which options are reported. The fake kernel answers rules and chains as a kernel without these options would.
 */
import { expect, test } from "vitest";
import { BlockingNetlink } from "../../../pkg/netlink/blocking.ts";
import { ByteWriter } from "../../../pkg/netlink/bytes.ts";
import { IPCTNL_MSG_CT_GET } from "../../../pkg/netlink/conntrack.ts";
import { decode, type Message, NETLINK_NETFILTER, NLMSG_ERROR, splitDatagram } from "../../../pkg/netlink/message.ts";
import { NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE } from "../../../pkg/netlink/nftables.ts";
import { FakeSystem } from "../../../pkg/sys/fake.ts";
import { missingServiceOptions } from "./service-options.ts";

const ERRNO = { none: 0, EPERM: 1, ENOENT: 2, EINVAL: 22, EAFNOSUPPORT: 97 } as const;
const BATCH_BEGIN = 16;
const BATCH_END = 17;

/** Returns an NLMSG_ERROR message: the errno, and the header of the message that it answers. */
function answer({ type, flags, sequence }: Message, errno: number): Uint8Array {
  const writer = new ByteWriter();
  for (const word of [36, NLMSG_ERROR, sequence, 0, -errno >>> 0, 16, (flags << 16) | type, sequence, 0])
    writer.u32(word);
  return writer.finish();
}

/**
 * A kernel that refuses messages according to `refuse`. A batch with an end message would be carried out, so `types`
 * shows whether anything was changed.
 */
function kernel(refuse: (message: Message) => keyof typeof ERRNO) {
  const types: number[] = [];
  const system = new FakeSystem({
    netlink: (datagram) =>
      splitDatagram(datagram).flatMap((message) => {
        types.push(message.type);
        return message.type === BATCH_BEGIN ? [] : [answer(message, ERRNO[refuse(message)])];
      }),
  });
  return { netfilter: new BlockingNetlink(system.openNetlink(NETLINK_NETFILTER), "the fake"), types };
}

const isOf = (message: Message, ...kinds: string[]) =>
  message.type === NFT_MSG_NEWRULE.type &&
  decode(NFT_MSG_NEWRULE, message).attributes.expressions?.some(({ kind }) => kinds.includes(kind)) === true;
const isNatChain = (message: Message) =>
  message.type === NFT_MSG_NEWCHAIN.type && decode(NFT_MSG_NEWCHAIN, message).attributes.type === "nat";
/** Rules in chains of type nat, which fail without those chains. */
const isNatRule = (message: Message) => isOf(message, "nat", "masq");

/** The query for a connection that does not exist. */
const isAskedFor = (message: Message) => message.type === IPCTNL_MSG_CT_GET.type;

test.each<[string, (message: Message) => keyof typeof ERRNO, readonly string[]]>([
  ["all options", (message) => (isAskedFor(message) ? "ENOENT" : "none"), []],
  ["no numgen", (message) => (isOf(message, "numgen") ? "ENOENT" : "none"), ["NFT_NUMGEN"]],
  [
    "neither fib nor reject",
    (message) => (isOf(message, "fib", "reject") ? "ENOENT" : "none"),
    ["NFT_FIB_INET", "NFT_REJECT_INET"],
  ],
  ["no masquerading", (message) => (isOf(message, "masq") ? "ENOENT" : "none"), ["NFT_MASQ"]],
  ["no chains of type nat", (message) => (isNatChain(message) || isNatRule(message) ? "ENOENT" : "none"), ["NFT_NAT"]],
  [
    "no family inet",
    (message) => (message.type === NFT_MSG_NEWTABLE.type ? "EAFNOSUPPORT" : "ENOENT"),
    ["NF_TABLES_INET"],
  ],
  ["no ctnetlink", (message) => (isAskedFor(message) ? "EINVAL" : "none"), ["NF_CT_NETLINK"]],
])("a kernel with %s", (_name, refuse, options) => {
  const { netfilter, types } = kernel(refuse);
  expect(missingServiceOptions(netfilter)).toEqual(options);
  expect(types).toContain(BATCH_BEGIN);
  expect(types).not.toContain(BATCH_END);
});

test("throws EPERM instead of reporting missing options if the caller may not change rules", () => {
  const { netfilter } = kernel(() => "EPERM");
  expect(() => missingServiceOptions(netfilter)).toThrow(/EPERM/);
});
