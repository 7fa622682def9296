import { expect, test } from "vitest";
import type { NetlinkSocket, System } from "../sys/system.ts";
import { ByteWriter } from "./bytes.ts";
import { NLM_F_ACK, NLMSG_ERROR, request, splitDatagram } from "./message.ts";
import { NFT_MSG_DELSETELEM, NFT_MSG_DELTABLE } from "./nftables.ts";
import { changeOf, changeSeen } from "./ruleset.ts";

const ERESTART = 85;
const EEXIST = 17;

/**
 * A kernel that answers batches with the numbers in `errnos` in order, then with 0; records the batches' generations.
 */
function systemWith(errnos: readonly number[]) {
  const seen = { generations: [] as number[], sleeps: [] as number[] };
  const answers: Uint8Array[] = [];
  const socket: NetlinkSocket = {
    send(datagram) {
      const messages = splitDatagram(datagram);
      const begin = messages[0];
      if (begin !== undefined && begin.payload.length >= 12) {
        seen.generations.push(new DataView(begin.payload.buffer, begin.payload.byteOffset + 8).getUint32(0));
      }
      for (const { flags, sequence } of messages) {
        if ((flags & NLM_F_ACK) === 0) continue;
        const writer = new ByteWriter();
        writer.u32(36);
        writer.u16(NLMSG_ERROR);
        writer.u16(0);
        writer.u32(sequence);
        writer.u32(0);
        writer.i32(-(errnos[seen.generations.length - 1] ?? 0));
        writer.zeros(16);
        answers.push(writer.finish());
      }
    },
    receive: () => answers.shift() ?? new Uint8Array(),
    close: () => undefined,
  };
  const system = {
    openNetlink: () => socket,
    randomBytes: () => Uint8Array.of(255),
    sleep: (ms: number) => {
      seen.sleeps.push(ms);
    },
  } as unknown as System;
  return { system, seen };
}

const T = { kind: "table", key: "inet t" } as const;
const deleteT = request(NFT_MSG_DELTABLE, T, "nft delete table t", {}, { name: "t" });

const change = (system: System) => {
  let generation = 40;
  changeSeen(
    system,
    () => ++generation,
    (seen) => ({ generation: seen, requests: [deleteT] }),
  );
};

test("replans a change for an old generation many times, with random delays", () => {
  const { system, seen } = systemWith(Array.from({ length: 100 }, () => ERESTART));
  change(system);
  expect(seen.generations).toEqual(Array.from({ length: 101 }, (_, at) => 41 + at));
  expect(seen.sleeps.slice(0, 8)).toEqual([1, 3, 7, 15, 31, 63, 127, 255]);
});

test("throws the kernel's error if every attempt is overtaken", () => {
  const { system, seen } = systemWith(Array.from({ length: 2000 }, () => ERESTART));
  expect(() => change(system)).toThrow(/ERESTART/);
  expect(seen.generations).toHaveLength(500);
});

test("retries other refusals a few times", () => {
  const { system, seen } = systemWith([EEXIST, ERESTART, EEXIST]);
  change(system);
  expect([seen.generations.length, seen.sleeps]).toEqual([4, [5, 1, 10]]);
});

test("a change that deletes a table is valid only for the generation that was read", () => {
  expect(changeOf([deleteT], 7).generation).toBe(7);
  expect(changeOf([], 7).generation).toBe(undefined);
});

test("a change that deletes others' elements is valid only for the generation that was read", () => {
  const deleteE = { ...deleteT, type: NFT_MSG_DELSETELEM.type };
  expect(changeOf([deleteE], 7).generation).toBe(undefined);
  expect(changeOf([deleteE], 7, { deletesOthers: true }).generation).toBe(7);
});
