import { expect, test } from "vitest";
import { BlockingNetlink } from "../netlink/blocking.ts";
import { ByteWriter } from "../netlink/bytes.ts";
import { RTM_NEWLINK } from "../netlink/link.ts";
import { decode, type Encodable, query, splitDatagram, writeRequest } from "../netlink/message.ts";
import { FakeKernel } from "./fake-kernel.ts";
import { changeLink, deleteLink, getLink, parseLink } from "./link.ts";
import { findLink } from "./read.ts";

const LONG = "enp0s31f6verylongname";

function attributesOf(sent: Encodable) {
  const writer = new ByteWriter();
  writeRequest(writer, sent, 1, 0);
  const [message] = splitDatagram(writer.finish());
  if (message === undefined) throw new Error("no message");
  return decode(RTM_NEWLINK, message).attributes;
}

test.each([
  ["getLink", (name: string) => getLink(name)],
  ["changeLink", (name: string) => changeLink(name, { up: true })],
  ["deleteLink", (name: string) => deleteLink(name)],
])("%s names a link by IFLA_IFNAME, and by IFLA_ALT_IFNAME if the name is too long", (_name, make) => {
  expect(attributesOf(make("fifteen-letters"))).toMatchObject({ ifname: "fifteen-letters" });
  expect(attributesOf(make("fifteen-letters"))).not.toHaveProperty("alternativeName");
  expect(attributesOf(make("sixteen--letters"))).toMatchObject({ alternativeName: "sixteen--letters" });
  expect(attributesOf(make("sixteen--letters"))).not.toHaveProperty("ifname");
  // The limit is in bytes, not in characters.
  expect(attributesOf(make("ü".repeat(8)))).toMatchObject({ alternativeName: "ü".repeat(8) });
});

test("sends the new name of a link selected by index as IFLA_IFNAME", () => {
  expect(attributesOf(changeLink(7, { name: "eth0" }))).toMatchObject({ ifname: "eth0" });
});

test("parses a link's alternative names", () => {
  const writer = new ByteWriter();
  writeRequest(writer, query(RTM_NEWLINK, "", {}, { ifname: "up0", alternativeNames: [LONG, "uplink"] }), 1, 0);
  const [message] = splitDatagram(writer.finish());
  expect(message && parseLink(message).alternativeNames).toEqual([LONG, "uplink"]);
});

test("findLink sends no request for a name that is too long for any link", () => {
  const kernel = new FakeKernel();
  let asked = 0;
  const answers: Uint8Array[] = [];
  const netlink = new BlockingNetlink(
    {
      send: (datagram) => {
        asked += 1;
        answers.push(...kernel.answer(datagram));
      },
      receive: () => answers.shift() as Uint8Array,
      close: () => undefined,
    },
    "here",
  );
  expect(findLink(netlink, "x".repeat(128))).toBeUndefined();
  expect(asked).toBe(0);
  expect(findLink(netlink, "x".repeat(127))).toBeUndefined();
  expect(asked).toBe(1);
});
