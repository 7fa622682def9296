import { expect, test } from "vitest";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import { LogProbe } from "./log-probe.ts";

function bench() {
  const sent: string[][] = [];
  const kernel = { refusal: undefined as ((request: Request) => Error) | undefined };
  const probe = new LogProbe({
    commit: async (requests) => {
      sent.push(requests.map(({ identifier }) => identifier));
      if (kernel.refusal !== undefined) throw kernel.refusal(requests[2] as Request);
    },
  });
  return { probe, sent, kernel };
}

const ENOENT = 2;
const ENOBUFS = 105;

test("one transaction adds a rule and removes it with its table; afterwards the answer is known", async () => {
  const { probe, sent } = bench();
  expect(probe.last).toBeUndefined();
  expect([await probe.hasLog(), await probe.hasLog(), probe.last]).toEqual([true, true, true]);
  expect(sent).toEqual([["NFT_MSG_NEWTABLE", "NFT_MSG_NEWCHAIN", "NFT_MSG_NEWRULE", "NFT_MSG_DELTABLE"]]);
});

test("a kernel without the logger is asked again, because the module may be loaded later", async () => {
  const { probe, kernel } = bench();
  kernel.refusal = (request) => new NetlinkError(request, ENOENT, undefined, "this node");
  expect([await probe.hasLog(), probe.last]).toEqual([false, false]);
  kernel.refusal = undefined;
  expect(await probe.hasLog()).toBe(true);
});

test("another refusal leaves the answer unknown", async () => {
  const { probe, kernel } = bench();
  kernel.refusal = (request) => new NetlinkError(request, ENOBUFS, undefined, "this node");
  await expect(probe.hasLog()).rejects.toThrow();
  expect(probe.last).toBeUndefined();
});
