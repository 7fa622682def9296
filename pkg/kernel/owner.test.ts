import { expect, test } from "vitest";
import { describeOwner, isOfNetwork, ownerMark, parseOwner } from "./owner.ts";

const container = "bac1212537439cc3f248d7d8e45d4a9afc554e956f865426cd125599a00dc27c";

test("a mark names network, container and interface", () => {
  expect(ownerMark({ network: "cbr0", containerId: container, ifName: "eth0" })).toBe(`cni:cbr0/${container}/eth0`);
});

test("marks too long for a comment are cut to 127 bytes and still differ", () => {
  const long = (ifName: string) => ownerMark({ network: "n".repeat(80), containerId: container.repeat(2), ifName });
  expect(long("eth0")).toHaveLength(127);
  expect(long("eth0")).toBe(long("eth0"));
  expect(long("eth0")).not.toBe(long("eth1"));
});

test("a network's marks are told from those of a network with a longer name", () => {
  const mark = ownerMark({ network: "net", containerId: container, ifName: "eth0" });
  expect(isOfNetwork(mark, "net")).toBe(true);
  expect(isOfNetwork(mark, "ne")).toBe(false);
  expect(isOfNetwork(ownerMark({ network: "net1", containerId: container, ifName: "eth0" }), "net")).toBe(false);
});

test("networks with long names are told apart, however late they differ", () => {
  const [one, other] = [`${"n".repeat(200)}1`, `${"n".repeat(200)}2`];
  const mark = ownerMark({ network: one, containerId: container, ifName: "eth0" });
  expect([isOfNetwork(mark, one), isOfNetwork(mark, other)]).toEqual([true, false]);
  expect(mark).toMatch(new RegExp(`^cni:~[0-9a-f]{16}/${container}/eth0$`));
});

test("a mark is described by its parts, and anything else by itself", () => {
  expect(describeOwner("cni:net/c1/eth0")).toBe("container c1, interface eth0, network net");
  expect(describeOwner("somebody")).toBe("somebody");
});

test("a mark tells its attachment, unless it was cut", () => {
  const attachment = { network: "net", containerId: container, ifName: "eth0" };
  expect(parseOwner(ownerMark(attachment))).toEqual(attachment);
  const others = [{ network: "n".repeat(80) }, { containerId: container.repeat(2) }, { network: "n".repeat(200) }];
  for (const other of others) expect(parseOwner(ownerMark({ ...attachment, ...other }))).toBeUndefined();
  expect(parseOwner("other-program")).toBeUndefined();
});
