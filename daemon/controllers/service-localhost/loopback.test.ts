import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { sysctlPath } from "../../../pkg/kernel/sysctl.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { FakeNftables } from "../../../pkg/nft/fake-nftables.ts";
import { FakeNftablesSocket } from "../../../pkg/nft/fake-nftables-socket.ts";
import { removeTable, replaceTable } from "../../../pkg/nft/table.ts";
import { OPEN_GATE } from "../../../pkg/reconcile/repair-gate.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { LOCALHOST_GUARD, ROUTE_LOCALNET } from "../../../pkg/tables/loopback-guard.ts";
import { runnable } from "../../core/controller-pass.ts";
import { Drivers } from "../../core/drivers/drivers.ts";
import { openLog } from "../../core/log.ts";
import { Facts, Topic } from "../../core/topic.ts";
import { LOOPBACK_GUARDED, PROXY_TURN } from "../facts.ts";
import { LoopbackController } from "./loopback.ts";

const PATH = sysctlPath(ROUTE_LOCALNET);
const EPERM = 1;

/** `told` records the changes of the setting and of the guard, in order. */
function bench({ isWanted = true, setting = "0" } = {}) {
  const nftables = new FakeNftables();
  const netlink = new EventedNetlink(new FakeNftablesSocket(nftables, 7), "fake", new ManualClock());
  const files = new FakeFiles();
  files.makeDirectory("/proc/sys/net/ipv4/conf/all");
  const set = (value: string) => files.writeFile(PATH, new TextEncoder().encode(`${value}\n`));
  const get = () => new TextDecoder().decode(files.readFile(PATH)).trim();
  set(setting);
  const told: string[] = [];
  const isGuarded = () => nftables.list().some((line) => line.includes(LOCALHOST_GUARD.name));
  const settings = new Proxy(files, {
    get: (target, name) => {
      const member = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        const before = get();
        const answer = member.apply(target, args);
        if (get() !== before) told.push(`${before} -> ${get()}, ${isGuarded() ? "guarded" : "unguarded"}`);
        return answer;
      };
    },
  });
  const facts = new Facts();
  const controller = new LoopbackController({
    ...{ isWanted, facts, nftables: netlink, files, settingChange: new Topic("setting") },
    settingWatch: { follow: () => undefined },
    ...{ health: { warns: () => undefined }, log: openLog("fatal", "n1") },
  });
  const commit = (...args: Parameters<EventedNetlink["commit"]>) => {
    told.push("guard");
    return netlink.commit(...args);
  };
  const drivers = new Drivers({
    kernel: { send: async () => [], commit },
    ...{ settings, processes: { keep: async () => ({ done: [], failures: [] }) } },
  });
  const { run } = runnable(controller, { drivers, gate: { ...OPEN_GATE, assertNothingRests: () => undefined } });
  const pass = async () => {
    told.length = 0;
    const kernel = { snapshot: () => Promise.reject(new Error("not read")) };
    await run({ reasons: ["a test"], kernel, later: () => undefined });
    return [...told];
  };
  const isOurs = (isOurs: boolean) => facts.of(PROXY_TURN).publish({ isOurs });
  return { nftables, facts, pass, isOurs, set, get, told, isGuarded };
}

test("programs the guard first, then the setting, then publishes the fact; a second pass changes nothing", async () => {
  const { facts, pass, isOurs } = bench();
  isOurs(true);
  expect(await pass()).toEqual(["guard", "0 -> 1, guarded"]);
  expect(facts.of(LOOPBACK_GUARDED).value).toBe(true);
  expect(await pass()).toEqual([]);
});

test("does not switch the setting on while another program serves Services or the proxy is unknown", async () => {
  const { facts, pass, isOurs } = bench();
  expect(await pass()).toEqual([]);
  isOurs(false);
  expect(await pass()).toEqual([]);
  expect(facts.of(LOOPBACK_GUARDED).value).toBe(undefined);
});

test("keeps the setting off until a removed guard is restored", async () => {
  const { nftables, pass, isOurs } = bench();
  isOurs(true);
  await pass();
  nftables.do(...removeTable(LOCALHOST_GUARD));
  expect(await pass()).toEqual(["1 -> 0, unguarded", "guard", "0 -> 1, guarded"]);
});

test("treats a missing rule as a missing guard, and switches the setting on again", async () => {
  const { nftables, pass, isOurs, set } = bench();
  isOurs(true);
  await pass();
  nftables.do(...replaceTable({ ...LOCALHOST_GUARD, chains: [] }));
  expect(await pass()).toEqual(["1 -> 0, guarded", "guard", "0 -> 1, guarded"]);
  set("0");
  expect(await pass()).toEqual(["0 -> 1, guarded"]);
});

test("without a guard the setting stays off, and NodePorts on 127.0.0.1 are withdrawn", async () => {
  const { nftables, facts, pass, isOurs, get } = bench({ setting: "1" });
  isOurs(true);
  nftables.refuse = () => EPERM;
  await expect(pass()).rejects.toThrow(/EPERM/);
  expect([get(), facts.of(LOOPBACK_GUARDED).value]).toEqual(["0", false]);
  nftables.refuse = () => 0;
  await pass();
  expect([get(), facts.of(LOOPBACK_GUARDED).value]).toEqual(["1", true]);
});

test("reverts the setting first and then the guard if they are not needed; a setting without a guard is not weftd's", async () => {
  const left = bench({ isWanted: false, setting: "1" });
  left.nftables.do(...replaceTable(LOCALHOST_GUARD));
  expect(await left.pass()).toEqual(["1 -> 0, guarded", "guard"]);
  expect(left.isGuarded()).toBe(false);
  const strange = bench({ isWanted: false, setting: "1" });
  expect(await strange.pass()).toEqual([]);
  expect(strange.get()).toBe("1");
});
