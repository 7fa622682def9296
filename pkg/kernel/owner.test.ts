import { expect, test } from "vitest";
import { describeOwner, isOfContainer, isOfNetwork, ownerMark, parseOwner } from "./owner.ts";

const container = "bac1212537439cc3f248d7d8e45d4a9afc554e956f865426cd125599a00dc27c";

test("a mark contains network, container and interface", () => {
  expect(ownerMark({ network: "cbr0", containerId: container, ifName: "eth0" })).toBe(`cni:cbr0/${container}/eth0`);
});

test("cuts marks that are too long for a comment to 127 bytes, and they still differ", () => {
  const long = (ifName: string) => ownerMark({ network: "n".repeat(80), containerId: container.repeat(2), ifName });
  expect(long("eth0")).toHaveLength(127);
  expect(long("eth0")).toBe(long("eth0"));
  expect(long("eth0")).not.toBe(long("eth1"));
});

const markOf = (attachment: { network: string; containerId: string }) => ownerMark({ ...attachment, ifName: "eth0" });

test.each([
  ["the attachment's own", "cni:net/c1/eth0", true],
  ["another attachment of the container, on a network renamed since", "cni:old/c1/net1", true],
  ["another container's", "cni:net/c2/eth0", false],
  ["a container whose id has the same prefix", "cni:net/c11/eth0", false],
  ["a truncated mark", ownerMark({ network: "net", containerId: "c1".repeat(80), ifName: "eth0" }), false],
  ["the container's, on a network with a long name", markOf({ network: "n".repeat(60), containerId: "c1" }), true],
  ["another's, on a network with a long name", markOf({ network: "n".repeat(60), containerId: "c2" }), false],
  ["no mark", "uplink of rack 7", undefined],
  ["no alias", "", undefined],
])("recognises a container's marks: %s", (_name, mark, isOwn) => {
  expect(isOfContainer(mark, { containerId: "c1" }, "cni:net/c1/eth0")).toBe(isOwn);
});

test("recognises an attachment's own truncated mark", () => {
  const containerId = "c1".repeat(80);
  const own = ownerMark({ network: "net", containerId, ifName: "eth0" });
  expect(isOfContainer(own, { containerId }, own)).toBe(true);
  expect(isOfContainer(own, { containerId }, "cni:other/x/net1")).toBeUndefined();
});

test("distinguishes a network from one whose name has the same prefix", () => {
  const mark = ownerMark({ network: "net", containerId: container, ifName: "eth0" });
  expect(isOfNetwork(mark, "net")).toBe(true);
  expect(isOfNetwork(mark, "ne")).toBe(false);
  expect(isOfNetwork(ownerMark({ network: "net1", containerId: container, ifName: "eth0" }), "net")).toBe(false);
});

test("distinguishes networks with long names that differ at the end", () => {
  const [one, other] = [`${"n".repeat(200)}1`, `${"n".repeat(200)}2`];
  const mark = ownerMark({ network: one, containerId: container, ifName: "eth0" });
  expect([isOfNetwork(mark, one), isOfNetwork(mark, other)]).toEqual([true, false]);
  expect(mark).toMatch(new RegExp(`^cni:~[0-9a-f]{16}/${container}/eth0$`));
});

test("describes a mark by its parts, and returns any other text unchanged", () => {
  expect(describeOwner("cni:net/c1/eth0")).toBe("container c1, interface eth0, network net");
  expect(describeOwner("somebody")).toBe("somebody");
});

test("parses the attachment from a mark, unless the mark was truncated", () => {
  const attachment = { network: "net", containerId: container, ifName: "eth0" };
  expect(parseOwner(ownerMark(attachment))).toEqual(attachment);
  const others = [{ network: "n".repeat(80) }, { containerId: container.repeat(2) }, { network: "n".repeat(200) }];
  for (const other of others) expect(parseOwner(ownerMark({ ...attachment, ...other }))).toBeUndefined();
  expect(parseOwner("other-program")).toBeUndefined();
});
