import { expect, test } from "vitest";
import { parsePrefix } from "../ip/prefix.ts";
import { ByteWriter } from "../netlink/bytes.ts";
import { NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, splitDatagram } from "../netlink/message.ts";
import { NFT_MSG_GETCHAIN, NFT_MSG_GETGEN, NFT_MSG_GETTABLE } from "../netlink/nftables.ts";
import { SystemError } from "../sys/errors.ts";
import type { NetlinkSocket, System } from "../sys/system.ts";
import { addMasquerade, removeMasquerade } from "./masquerade.ts";

const ips = [{ address: parsePrefix("10.1.0.2/24") }];
const ENOENT = 2;
const EEXIST = 17;
const EINVAL = 22;

/**
 * A kernel without tables. It answers each query with `lookErrno` (0: an empty dump, or ENOENT for a single object) and
 * each batch with the next of `batchErrnos`, then with 0.
 */
function systemWith(lookErrno: number, batchErrnos: readonly number[]) {
  const counts = { batches: 0, sleeps: 0, closed: 0 };
  const answers: Uint8Array[] = [];
  const socket: NetlinkSocket = {
    send(datagram) {
      for (const { type, flags, sequence } of splitDatagram(datagram)) {
        const isDump = (flags & NLM_F_DUMP) === NLM_F_DUMP;
        const isGeneration = type === NFT_MSG_GETGEN.type;
        const isQuestion = isDump || isGeneration || type === NFT_MSG_GETTABLE.type || type === NFT_MSG_GETCHAIN.type;
        if (!isQuestion && (flags & NLM_F_ACK) === 0) continue;
        const missing = isGeneration ? 0 : ENOENT;
        const lookedUp = lookErrno === EINVAL || isDump ? lookErrno : missing;
        const errno = isQuestion ? lookedUp : (batchErrnos[counts.batches++] ?? 0);
        const writer = new ByteWriter();
        writer.u32(36);
        writer.u16(isDump && errno === 0 ? NLMSG_DONE : NLMSG_ERROR);
        writer.u16(0);
        writer.u32(sequence);
        writer.u32(0);
        writer.i32(-errno);
        writer.zeros(16);
        answers.push(writer.finish());
      }
    },
    receive() {
      const answer = answers.shift();
      if (answer === undefined) throw new SystemError("recvmsg", "netlink", 110);
      return answer;
    },
    close() {
      counts.closed += 1;
    },
  };
  const system = {
    openNetlink: () => socket,
    sleep: () => {
      counts.sleeps += 1;
    },
  } as unknown as System;
  return { system, counts };
}

const withoutSockets = {
  openNetlink: () => {
    throw new SystemError("socket", "netlink", 93);
  },
} as unknown as System;

test("removes nothing on a kernel without nfnetlink or nf_tables", () => {
  expect(() => removeMasquerade(withoutSockets, () => true)).not.toThrow();
  const { system, counts } = systemWith(EINVAL, []);
  removeMasquerade(system, () => true);
  expect(counts).toEqual({ batches: 0, sleeps: 0, closed: 1 });
});

test("names missing nfnetlink or nf_tables if an attachment needs them", () => {
  expect(() => addMasquerade(withoutSockets, "cni:n/a/eth0", ips)).toThrow(
    /cannot masquerade cni:n\/a\/eth0.*nf_tables/,
  );
  const { system, counts } = systemWith(EINVAL, []);
  expect(() => addMasquerade(system, "cni:n/a/eth0", ips)).toThrow(/EINVAL\).*ipMasq needs a kernel with nf_tables/);
  expect(counts.closed).toBe(1);
});

test("opens no socket for an attachment without addresses", () => {
  expect(() => addMasquerade(withoutSockets, "cni:n/a/eth0", [])).not.toThrow();
});

test("creates a missing table once", () => {
  const { system, counts } = systemWith(ENOENT, []);
  addMasquerade(system, "cni:n/a/eth0", ips);
  expect(counts).toEqual({ batches: 1, sleeps: 0, closed: 1 });
});

test("reads again after a concurrent change until the batch is accepted", () => {
  const { system, counts } = systemWith(0, [EEXIST, ENOENT]);
  addMasquerade(system, "cni:n/a/eth0", ips);
  expect(counts).toEqual({ batches: 3, sleeps: 2, closed: 1 });
});

test("reports a persistent refusal instead of retrying forever", () => {
  const { system, counts } = systemWith(
    0,
    Array.from({ length: 50 }, () => ENOENT),
  );
  expect(() => addMasquerade(system, "cni:n/a/eth0", ips)).toThrow(/ENOENT\).*nft_masq/);
  expect(counts).toEqual({ batches: 8, sleeps: 7, closed: 1 });
});

test("reports a refused change even if the read succeeded", () => {
  const { system } = systemWith(0, [EINVAL]);
  expect(() => addMasquerade(system, "cni:n/a/eth0", ips)).toThrow(/EINVAL\)$/);
});
