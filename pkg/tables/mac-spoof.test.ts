import { expect, test } from "vitest";
import type { Message, Request } from "../netlink/message.ts";
import { ruleText } from "../nft/table.ts";
import { addGuards, deleteGuards, type GuardedPort, holdsGuard, macSpoofTable } from "./mac-spoof.ts";

const answer = ({ type, flags, body }: Request): Message => ({ type, flags, sequence: 0, portId: 0, payload: body });
const first: GuardedPort = { owner: "cni:net/a/eth0", port: "veth00000001", mac: "02:00:00:00:00:01" };
const second: GuardedPort = { owner: "cni:net/b/eth0", port: "veth00000002", mac: "02:00:00:00:00:02" };
/** The requests do not contain the kernel's use count, so each table seems to have another shape. */
const dumped = (requests: readonly Request[]) => requests.map(answer);
const texts = (requests: readonly Request[]) => requests.map(({ text }) => text);

test("guarded ports may send frames only with their own address", () => {
  const [chain] = macSpoofTable([]).chains;
  expect(chain).toMatchObject({ hook: "prerouting", priority: -300 });
  expect(chain?.rules.map(ruleText)).toEqual([
    'iifname @ports iifname . ether saddr != @sources counter drop comment "frames under another\'s address"',
  ]);
});

test("creates a missing table with the port", () => {
  expect(texts(addGuards([], [first]))).toEqual([
    "nft add table bridge weft_macspoof",
    "nft add set bridge weft_macspoof ports { type ifname; }",
    "nft add set bridge weft_macspoof sources { type ifname . ether_addr; }",
    "nft add chain bridge weft_macspoof prerouting { type filter hook prerouting priority -300; policy accept; }",
    'nft create element bridge weft_macspoof ports { "veth00000001" comment "cni:net/a/eth0" }',
    'nft create element bridge weft_macspoof sources { "veth00000001" . 02:00:00:00:00:01 comment "cni:net/a/eth0" }',
    expect.stringContaining("nft add rule bridge weft_macspoof prerouting"),
  ]);
});

test("recreates a table of another shape with its ports, and replaces a port of the same name", () => {
  const both = addGuards(dumped(addGuards([], [first])), [second]);
  expect(both[0]?.text).toMatch(/^nft delete table bridge handle/);
  expect(texts(both).join("\n")).toContain('"veth00000001" . 02:00:00:00:00:01 comment "cni:net/a/eth0"');
  const again = addGuards(dumped(addGuards([], [first])), [{ ...second, port: first.port }]);
  expect(texts(again).join("\n")).not.toContain("cni:net/a/eth0");
});

test("removes the owner's elements from both sets, and sends nothing if there are none", () => {
  const seen = dumped([...addGuards([], [first]), ...addGuards([], [second])]);
  const removal = deleteGuards(seen, (owner) => owner === first.owner);
  expect(texts(removal)).toEqual([
    "nft delete element bridge weft_macspoof ports (1 of them)",
    "nft delete element bridge weft_macspoof sources (1 of them)",
  ]);
  expect(deleteGuards(seen, () => false)).toEqual([]);
  expect(deleteGuards([], () => true)).toEqual([]);
});

test("holdsGuard is false without a table", () => {
  expect(holdsGuard([], first)).toBe(false);
});
