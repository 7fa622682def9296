import { expect, test } from "vitest";
import { isOfNetwork, ownerMark } from "./owner.ts";

const container = "bac1212537439cc3f248d7d8e45d4a9afc554e956f865426cd125599a00dc27c";

test("a mark names network, container and interface", () => {
  expect(ownerMark({ network: "cbr0", containerId: container, ifName: "eth0" })).toBe(`cni:cbr0/${container}/eth0`);
});

test("marks too long for a comment are cut to 127 bytes and still differ", () => {
  const long = (ifName: string) => ownerMark({ network: "n".repeat(80), containerId: container, ifName });
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

test("a network whose name alone is too long is still recognised by its mark", () => {
  const network = "n".repeat(200);
  expect(isOfNetwork(ownerMark({ network, containerId: container, ifName: "eth0" }), network)).toBe(true);
});
