/**
 * Executables that change one table at the same time: each dumps, plans and commits, and retries when another committed
 * in between. In the end the table holds the entries of all attachments that were added and not deleted.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { networkOf, type Prefix, parsePrefix } from "../../pkg/ip/prefix.ts";
import { NETLINK_NETFILTER } from "../../pkg/netlink/message.ts";
import { changeRuleset } from "../../pkg/netlink/ruleset.ts";
import { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import {
  addPodMasquerade,
  deletePodMasquerade,
  holdsPodMasquerade,
  type PodMasquerade,
  podMasqueradeDumps,
  readPodMasquerade,
} from "../../pkg/tables/pod-masquerade.ts";
import { runs } from "../fuzz/samples.ts";
import { answersTo } from "./answers.ts";

const NFNL_MSG_BATCH_BEGIN = 16;

/** `meanwhile` is how many of the following calls run between this one's dumps and its commit. */
interface Call {
  readonly verb: "ADD" | "DEL";
  readonly pod: number;
  readonly meanwhile: number;
}

const call: fc.Arbitrary<Call> = fc.record({
  verb: fc.constantFrom("ADD" as const, "ADD" as const, "DEL" as const),
  pod: fc.integer({ min: 2, max: 6 }),
  meanwhile: fc.constantFrom(0, 0, 1, 2, 3),
});

const ownerOf = (pod: number) => `cni:net/pod${pod}/eth0`;
const addressesOf = (pod: number): Prefix[] => [`10.1.0.${pod}/24`, `fd00:1::${pod}/64`].map(parsePrefix);
const entriesOf = (pod: number): PodMasquerade[] =>
  addressesOf(pod).map((prefix) => ({ owner: ownerOf(pod), address: prefix.address, subnet: networkOf(prefix) }));

/** Runs the calls; a runtime never calls two verbs for one attachment at the same time. */
function run(nftables: FakeNftables, calls: readonly Call[]): ReadonlySet<number> {
  const queue = [...calls];
  const running = new Set<number>();
  const attached = new Set<number>();
  let port = 1;
  const next = (): void => {
    const at = queue.findIndex(({ pod }) => !running.has(pod));
    const [one] = at < 0 ? [] : queue.splice(at, 1);
    if (one === undefined) return;
    let others = one.meanwhile;
    running.add(one.pod);
    const own = port++;
    const system = new FakeSystem({
      netlink: (datagram, { protocol }) => {
        expect(protocol).toBe(NETLINK_NETFILTER);
        const isCommit = new DataView(datagram.buffer, datagram.byteOffset).getUint16(4, true) === NFNL_MSG_BATCH_BEGIN;
        for (; isCommit && others > 0; others--) next();
        return nftables.answer(datagram, own);
      },
    });
    changeRuleset(system, podMasqueradeDumps(), (seen) =>
      one.verb === "ADD"
        ? addPodMasquerade(seen, entriesOf(one.pod))
        : deletePodMasquerade(seen, (owner) => owner === ownerOf(one.pod)),
    );
    if (one.verb === "ADD") attached.add(one.pod);
    else attached.delete(one.pod);
    running.delete(one.pod);
  };
  while (queue.length > 0) next();
  return attached;
}

test("executables that run at the same time lose no entry and leave none", () => {
  fc.assert(
    fc.property(fc.array(call, { maxLength: 12 }), (calls) => {
      const nftables = new FakeNftables();
      const attached = [...run(nftables, calls)];
      const seen = answersTo(nftables, podMasqueradeDumps());
      if (attached.length > 0) expect(holdsPodMasquerade(seen, attached.flatMap(entriesOf))).toBe(true);
      const owners = new Set(readPodMasquerade(seen).map(({ owner }) => owner));
      expect([...owners].sort()).toEqual(attached.map(ownerOf).sort());
    }),
    { numRuns: runs(30, 1000) },
  );
});
