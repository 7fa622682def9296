import { describe, expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import type { Message, Request } from "../netlink/message.ts";
import { NFT_MSG_NEWTABLE } from "../netlink/nftables.ts";
import { addToFirewall, type Firewall, holdsFirewall, readFirewall, removeFromFirewall } from "./firewall.ts";

const answer = ({ type, flags, body }: Request): Message => ({ type, flags, sequence: 0, portId: 0, payload: body });
/** The kernel's dump of a table that these requests create. */
const dumped = (firewall: Firewall) => readFirewall(addToFirewall(readFirewall([]), firewall).map(answer));

const pod = (owner: string, address: string, bridge?: string) => ({
  owner,
  address: parseAddress(address),
  ...(bridge === undefined ? {} : { bridge }),
});
const firewall = (pods: Firewall["pods"], policies: [string, "same-bridge" | "isolated"][] = []): Firewall => ({
  pods,
  policies: new Map(policies),
});
const texts = (requests: readonly Request[]) => requests.map(({ text }) => text);

test("parses an added table back", () => {
  const both = firewall(
    [pod("a", "10.1.0.2", "cni0"), pod("b", "10.1.0.3"), pod("a", "fd00::2", "cni0")],
    [
      ["cni0", "same-bridge"],
      ["cni1", "isolated"],
    ],
  );
  expect(dumped(both)).toMatchObject(both);
});

describe("an existing table", () => {
  // The requests do not contain the kernel's use count, so the shape differs and the table is recreated.
  test("with another shape is recreated with its pods", () => {
    const requests = addToFirewall(dumped(firewall([pod("a", "10.1.0.2")])), firewall([pod("b", "10.1.0.3")]));
    expect(requests[0]?.text).toMatch(/^nft delete table inet handle/);
    expect(readFirewall(requests.map(answer)).pods.map(({ owner }) => owner)).toEqual(["a", "b"]);
  });

  test("assigns a stale address to its new owner", () => {
    const requests = addToFirewall(dumped(firewall([pod("a", "10.1.0.2")])), firewall([pod("b", "10.1.0.2")]));
    expect(readFirewall(requests.map(answer)).pods).toEqual([pod("b", "10.1.0.2")]);
  });

  test("keeps a bridge isolated if one pod requests it", () => {
    const before = dumped(firewall([pod("a", "10.1.0.2", "cni0")], [["cni0", "isolated"]]));
    const requests = addToFirewall(before, firewall([pod("b", "10.1.0.3", "cni0")], [["cni0", "same-bridge"]]));
    expect(readFirewall(requests.map(answer)).policies).toEqual(new Map([["cni0", "isolated"]]));
  });
});

describe("removing", () => {
  const seen = dumped(
    firewall(
      [pod("a", "10.1.0.2", "cni0"), pod("b", "10.1.0.3", "cni0"), pod("c", "10.2.0.2", "cni1")],
      [
        ["cni0", "same-bridge"],
        ["cni1", "isolated"],
      ],
    ),
  );
  const remove = (...owners: string[]) => removeFromFirewall(seen, (owner) => owners.includes(owner));

  test("removes only the pod's elements while other pods are on its bridge", () => {
    expect(texts(remove("a").requests)).toEqual([
      "nft delete element inet weft_firewall pods4 (1 of them)",
      "nft delete element inet weft_firewall bridge-pods4 (1 of them)",
    ]);
    expect(remove("a")).toMatchObject({ needsGeneration: false, pods: [pod("a", "10.1.0.2", "cni0")] });
  });

  test("removes the bridge's elements with its last pod, for one generation", () => {
    expect(texts(remove("c").requests)).toContain("nft delete element inet weft_firewall bridges (1 of them)");
    expect(remove("a", "b").needsGeneration).toBe(true);
    expect(texts(remove("a", "b").requests)).toContain(
      "nft delete element inet weft_firewall open-bridges (1 of them)",
    );
  });

  test("sends nothing for unknown pods, or without a table", () => {
    expect(remove("d")).toMatchObject({ requests: [], pods: [], needsGeneration: false });
    expect(removeFromFirewall(readFirewall([]), () => true)).toMatchObject({
      requests: [],
      pods: [],
      needsGeneration: false,
    });
  });
});

test("holdsFirewall is false for a damaged table and for a missing pod", () => {
  const one = firewall([pod("a", "10.1.0.2")]);
  expect(holdsFirewall(readFirewall([]), one)).toBe(false);
  expect(
    holdsFirewall(
      readFirewall(
        addToFirewall(readFirewall([]), one)
          .map(answer)
          .filter(({ type }) => type === NFT_MSG_NEWTABLE.type),
      ),
      one,
    ),
  ).toBe(false);
});
