import { expect, test } from "vitest";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { parsePrefix } from "../../../pkg/ip/prefix.ts";
import { addAddress, deleteAddress } from "../../../pkg/kernel/address.ts";
import { deleteLink } from "../../../pkg/kernel/link.ts";
import type { Message, Request } from "../../../pkg/netlink/message.ts";
import { LocalAddresses } from "./local-addresses.ts";

/** A notification has the layout of the request for the same change. */
const message = ({ type, body }: Request): Message => ({ type, flags: 0, sequence: 0, portId: 0, payload: body });
const held = (text: string) => message(addAddress({ index: 2, prefix: parsePrefix(text) }));

function bench(...texts: string[]) {
  const kernel = { addresses: texts, dumps: 0, during: () => {} };
  const local = new LocalAddresses({
    dump: async () => {
      kernel.dumps += 1;
      const messages = kernel.addresses.map(held);
      await Promise.resolve();
      kernel.during();
      return messages;
    },
  });
  const read = async () => (await local.read()).map(formatAddress);
  return { kernel, local, read };
}

test("returns each address once, without loopback addresses", async () => {
  const { read } = bench("127.0.0.1/8", "::1/128", "192.0.2.1/24", "192.0.2.1/32", "fe80::1/64");
  expect(await read()).toEqual(["192.0.2.1", "fe80::1"]);
});

test("dumps addresses again only after one was added or removed", async () => {
  const { kernel, local, read } = bench("192.0.2.1/24");
  await read();
  expect(local.heard(message(deleteLink(7)))).toBeUndefined();
  await read();
  expect(kernel.dumps).toBe(1);
  kernel.addresses = ["192.0.2.2/24"];
  expect(local.heard(message(deleteAddress(2, parsePrefix("192.0.2.1/24"))))).toMatchObject({ isPatient: true });
  expect(await read()).toEqual(["192.0.2.2"]);
  expect(local.heard(held("192.0.2.2/24"))).toBeDefined();
  await read();
  expect(kernel.dumps).toBe(3);
});

test("dumps again after a change during the dump", async () => {
  const { kernel, local, read } = bench("192.0.2.1/24");
  kernel.during = () => {
    kernel.during = () => {};
    kernel.addresses = ["192.0.2.2/24"];
    local.heard(held("192.0.2.2/24"));
  };
  expect(await read()).toEqual(["192.0.2.2"]);
});

test("repeats a failed dump", async () => {
  const { kernel, read } = bench("192.0.2.1/24");
  kernel.during = () => {
    kernel.during = () => {};
    throw new Error("interrupted");
  };
  await expect(read()).rejects.toThrow("interrupted");
  expect(await read()).toEqual(["192.0.2.1"]);
});
