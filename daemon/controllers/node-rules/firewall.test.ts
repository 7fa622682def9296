import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import { type Request, request } from "../../../pkg/netlink/message.ts";
import { NFT_MSG_DELRULE, NFT_MSG_NEWRULE } from "../../../pkg/netlink/nftables.ts";
import type { Table } from "../../../pkg/nft/table.ts";
import { nodeMasquerade } from "../../../pkg/tables/masquerade.ts";

import { type DesiredFirewall, Firewall } from "./firewall.ts";

const tableOf = (range: string): DesiredFirewall => ({
  table: nodeMasquerade({ podRanges: [parseSubnet(range)], exempt: [] }),
  ranges: [parseSubnet(range)],
});

function bench() {
  const clock = new ManualClock();
  const kernel = { held: undefined as Table | undefined, lookMs: 3, overlaps: 0 };
  const asked: string[] = [];
  const forward = {
    missing: [] as Request[],
    blocked: [] as NetlinkError[],
    error: undefined as Error | undefined,
    lookMs: 0,
    looks: 0,
  };
  const blocked: string[] = [];
  let isBusy = false;
  const firewall = new Firewall({
    clock,
    programmer: {
      async replaceTable(table, isAllowed = () => true) {
        if (isBusy) kernel.overlaps += 1;
        isBusy = true;
        await Promise.resolve();
        clock.advance(kernel.lookMs);
        isBusy = false;
        if (JSON.stringify(kernel.held, text) === JSON.stringify(table, text) || !isAllowed()) return false;
        kernel.held = table;
        return true;
      },
      async commit() {},
      async acceptForwarded(_ranges, isAllowed = () => true) {
        forward.looks += 1;
        clock.advance(forward.lookMs);
        if (forward.error !== undefined) throw forward.error;
        const { missing, blocked: refused } = forward;
        if (missing.length === 0 || !isAllowed(missing)) return { sent: [], blocked: refused };
        forward.missing = [];
        return { sent: missing, blocked: refused };
      },
    },
    onBlocked: (reasons) => {
      blocked.splice(0, blocked.length, ...reasons);
    },
    gate: {
      mayPutBack: (_object, words) => asked.push(typeof words === "string" ? words : words()) < 3,
      refused: () => undefined,
      assertNothingRests: () => {
        if (asked.length >= 3) throw new Error("it rests");
      },
    },
  });
  return { clock, kernel, asked, forward, blocked, firewall };
}

const text = (_key: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);

test("restores nothing before the first pass", async () => {
  const { firewall, kernel } = bench();
  expect(await firewall.restore()).toEqual([]);
  expect(kernel.held).toBeUndefined();
});

test("restores what another program removed and counts it as a repair; changes by a pass do not count", async () => {
  const { firewall, kernel, asked } = bench();
  expect(await firewall.keep(tableOf("10.244.0.0/16"))).toEqual(["table inet weft"]);
  expect(await firewall.restore()).toEqual([]);
  kernel.held = undefined;
  expect(await firewall.restore()).toEqual(["table inet weft"]);
  expect(await firewall.keep(tableOf("10.245.0.0/16"))).toEqual(["table inet weft"]);
  expect(asked).toEqual(["table inet weft"]);
  kernel.held = undefined;
  expect(await firewall.keep(tableOf("10.245.0.0/16"))).toEqual(["table inet weft"]);
  expect(asked).toHaveLength(2);
});

test("a repair that must wait is a failure", async () => {
  const { firewall, kernel } = bench();
  await firewall.keep(tableOf("10.244.0.0/16"));
  for (let n = 0; n < 2; n++) {
    kernel.held = undefined;
    await firewall.restore();
  }
  kernel.held = undefined;
  await expect(firewall.restore()).rejects.toThrow("it rests");
  expect(kernel.held).toBeUndefined();
});

const EPERM = 1;
const object = { kind: "rule", key: "ip filter FORWARD accept" } as const;
const rule = request(NFT_MSG_NEWRULE, object, "nft insert rule ip filter FORWARD accept", { family: 2 }, {});

test("makes a dropping chain accept, independently of our own table", async () => {
  const { firewall, kernel, forward, asked } = bench();
  forward.missing = [rule];
  expect(await firewall.keep(tableOf("10.244.0.0/16"))).toEqual(["table inet weft", rule.text]);
  expect(asked).toEqual([]);
  forward.missing = [rule];
  expect(await firewall.restore()).toEqual([rule.text]);
  expect(asked).toEqual([rule.text]);
  forward.error = new Error("no memory");
  kernel.held = undefined;
  await expect(firewall.restore()).rejects.toThrow("no memory");
  expect(kernel.held).toBeDefined();
});

test("neither the removal of a rule by weft nor its later return is a repair", async () => {
  const { firewall, forward, asked } = bench();
  forward.missing = [rule];
  await firewall.keep(tableOf("10.244.0.0/16"));
  forward.missing = [request(NFT_MSG_DELRULE, object, "nft delete rule ip filter FORWARD handle 7", { family: 2 }, {})];
  await firewall.keep(tableOf("10.245.0.0/16"));
  forward.missing = [rule];
  await firewall.keep(tableOf("10.244.0.0/16"));
  expect(asked).toEqual([]);
  forward.missing = [request(NFT_MSG_NEWRULE, object, "the same rule in other words", { family: 2 }, {})];
  await firewall.restore();
  expect(asked).toEqual(["the same rule in other words"]);
});

test("a chain of an exclusive owner is reported with the command to run, and is not a failure", async () => {
  const { firewall, forward, blocked } = bench();
  forward.blocked = [new NetlinkError(rule, EPERM, undefined, "a test")];
  await firewall.keep(tableOf("10.244.0.0/16"));
  expect(blocked).toEqual([expect.stringMatching(/insert rule ip filter FORWARD.*--add-source=10\.244\.0\.0\/16/)]);
  forward.blocked = [];
  await firewall.restore();
  expect(blocked).toEqual([]);
});

test("checks do not overlap, and one that fails does not stop the next", async () => {
  const { firewall, kernel } = bench();
  await Promise.all([firewall.keep(tableOf("10.244.0.0/16")), firewall.restore(), firewall.restore()]);
  expect(kernel.overlaps).toBe(0);
  kernel.lookMs = Number.NaN;
  await firewall.restore().catch(() => undefined);
  expect(await firewall.keep(tableOf("10.246.0.0/16"))).toEqual(["table inet weft"]);
});

test("the longer a check without changes takes, the longer the next one waits", async () => {
  const { firewall, clock, kernel } = bench();
  expect(firewall.delayMs).toBe(10);
  await firewall.keep(tableOf("10.244.0.0/16"));
  await firewall.restore();
  expect(firewall.delayMs).toBe(30);
  clock.advance(25);
  expect(firewall.delayMs).toBe(10);
  await firewall.restore();
  kernel.held = undefined;
  await firewall.restore();
  expect(firewall.delayMs).toBe(10);
});

test("our own table does not wait for a slow check of other programs' chains", async () => {
  const { firewall, clock, kernel, forward } = bench();
  forward.lookMs = 100;
  await firewall.keep(tableOf("10.244.0.0/16"));
  await firewall.restore();
  expect(forward.looks).toBe(2);
  expect(firewall.delayMs).toBe(10);
  expect(firewall.forwardDueInMs).toBeUndefined();
  kernel.held = undefined;
  expect(await firewall.restore()).toEqual(["table inet weft"]);
  // Other programs' chains are checked when the pause has ended.
  expect(forward.looks).toBe(2);
  expect(firewall.forwardDueInMs).toBe(1000 - kernel.lookMs);
  clock.advance(1000);
  forward.missing = [rule];
  expect(await firewall.restore()).toEqual([rule.text]);
  expect(firewall.forwardDueInMs).toBeUndefined();
});

test("a slow check of our own table postpones the next one by at most 250 ms", async () => {
  const { firewall, kernel } = bench();
  await firewall.keep(tableOf("10.244.0.0/16"));
  kernel.lookMs = 100;
  await firewall.restore();
  expect(firewall.delayMs).toBe(250);
});

test("the next restore repeats a failed check of other programs' chains, instead of succeeding without it", async () => {
  const { firewall, forward } = bench();
  await firewall.keep(tableOf("10.244.0.0/16"));
  Object.assign(forward, { lookMs: 100, error: new Error("refused") });
  await expect(firewall.restore()).rejects.toThrow("refused");
  await expect(firewall.restore()).rejects.toThrow("refused");
  forward.error = undefined;
  expect(await firewall.restore()).toEqual([]);
  expect(firewall.forwardDueInMs).toBeUndefined();
});

test("a rule in another program's chain that must wait is a failure until it is restored", async () => {
  const { firewall, forward, asked } = bench();
  await firewall.keep(tableOf("10.244.0.0/16"));
  forward.lookMs = 100;
  for (let time = 0; time < 4; time++) {
    forward.missing = [rule];
    await firewall.restore().catch(() => undefined);
  }
  expect(asked).toHaveLength(3);
  const { looks } = forward;
  await expect(firewall.restore()).rejects.toThrow("it rests");
  expect(forward.looks).toBe(looks + 1);
});
