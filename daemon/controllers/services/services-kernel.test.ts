/** Runs the controller with the nftables mode on nf_tables in memory. */
import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Request } from "../../../pkg/netlink/message.ts";
import { FakeNftables } from "../../../pkg/nft/fake-nftables.ts";
import { FakeNftablesSocket } from "../../../pkg/nft/fake-nftables-socket.ts";
import { deleteTable } from "../../../pkg/nft/ruleset.ts";
import { NftablesMode } from "../../../pkg/services/nftables/nftables-mode.ts";
import { openLog } from "../../core/log.ts";
import { serviceObject, sliceObject } from "../../sources/fake-service-source.ts";
import { PROXY_TURN } from "../facts.ts";
import { SERVICES_PLACE, ServiceProgrammer } from "./service-programmer.ts";
import { surroundings } from "./services-bench.ts";

/** The port of a weftd. */
const PORT = 42;

/** A weftd that starts on this kernel. */
function begun(nftables: FakeNftables, port = PORT) {
  const netlink = new EventedNetlink(new FakeNftablesSocket(nftables, port), "a test", new ManualClock());
  const committed: (readonly Request[])[] = [];
  const programmer = {
    commit: async (requests: readonly Request[]) => {
      committed.push(requests);
      await netlink.commit(requests);
    },
  };
  const log = openLog("fatal", "n1");
  const around = surroundings(
    (gate) => new ServiceProgrammer({ mode: new NftablesMode(), nftables: netlink, programmer, gate, log }),
  );
  /** A comparison has a hundred queries, each in a separate turn of the event loop. */
  const settle = async () => {
    for (let n = 0; n < 400; n++) {
      if (n % 8 === 0) around.clock.advance(1);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { ...around, committed, settle };
}

const texts = (transactions: readonly (readonly Request[])[]) => transactions.flat().map(({ text }) => text);

test("a change is one transaction of elements, and a restart writes nothing", async () => {
  const nftables = new FakeNftables();
  const first = begun(nftables);
  await first.begin();
  await first.settle();
  expect(nftables.list().join("\n")).toContain("10.244.1.2");
  first.committed.length = 0;
  first.source.slices.put(sliceObject("web", ["10.244.1.2", "10.244.2.2"]));
  await first.settle();
  expect(first.committed).toHaveLength(1);
  for (const text of texts(first.committed)) expect(text).toMatch(/^nft (add|create|delete) (element|chain|rule) /);
  const before = nftables.list();
  const second = begun(nftables, PORT + 1);
  second.source.slices.put(sliceObject("web", ["10.244.1.2", "10.244.2.2"]));
  second.source.services.put(serviceObject("web", "10.96.0.1"));
  second.source.listed();
  second.facts.of(PROXY_TURN).publish({ isOurs: true });
  second.runner.start(second.controller);
  await second.settle();
  expect(second.health.readiness().text).toContain("[+] services: 1 Services");
  expect(second.committed).toEqual([]);
  expect(nftables.list()).toEqual(before);
});

test("a table deleted by another program is restored; one whose deletion was not announced is restored after a change is refused", async () => {
  const nftables = new FakeNftables();
  const { begin, settle, damage, source } = begun(nftables);
  await begin();
  await settle();
  const before = nftables.list();
  nftables.do(deleteTable(SERVICES_PLACE));
  damage();
  await settle();
  expect(nftables.list()).toEqual(before);
  nftables.do(deleteTable(SERVICES_PLACE));
  source.services.put(serviceObject("dns", "10.96.0.10"));
  await settle();
  expect(nftables.list().join("\n")).toContain("10.244.1.2");
  source.services.remove("default/dns");
  await settle();
  expect(nftables.list()).toEqual(before);
});

test("repairs of a contended table back off; then the table is restored", async () => {
  const nftables = new FakeNftables();
  const { begin, settle, damage, source, health, clock } = begun(nftables);
  await begin();
  await settle();
  const before = nftables.list();
  const ready = () => health.readiness().text.match(/\[.\] services: .*/)?.[0];
  for (let n = 0; n < 50 && ready()?.includes("keeps undoing") !== true; n++) {
    nftables.do(deleteTable(SERVICES_PLACE));
    damage();
    await settle();
  }
  expect(ready()).toMatch(/^\[-\] services: another program keeps undoing.*table inet weft-services/);
  source.services.put(serviceObject("dns", "10.96.0.10"));
  await settle();
  // A change does not bypass the gate.
  expect(nftables.list().join("\n")).not.toContain("10.244.1.2");
  source.services.remove("default/dns");
  clock.advance(10_000);
  await settle();
  expect(nftables.list()).toEqual(before);
  expect(ready()).toMatch(/^\[\+\]/);
});
