import { expect, test } from "vitest";
import { decode, type Message, type Request } from "../netlink/message.ts";
import { RTM_NEWQDISC } from "../netlink/traffic-control.ts";
import { addBucket, addRedirection, isBucket, isRedirection, type Limit } from "./traffic-control.ts";

/** The message that the kernel would show for this request. */
const shown = ({ type, body }: Request): Message => ({ type, flags: 0, sequence: 1, portId: 0, payload: body });

function bucket(limit: Limit) {
  const { attributes } = decode(RTM_NEWQDISC, shown(addBucket(3, limit)));
  if (attributes.kind !== "tbf") throw new Error(attributes.kind);
  const { parms, rate64, burst } = attributes.data ?? {};
  return { rate: parms?.rate, limit: parms?.limit, buffer: parms?.buffer, rate64, burst };
}

/** Recorded: the values that the reference 1.9.1 sends for the same configurations. */
test.each([
  [
    { bytesPerSecond: 2_500_000, burstBytes: 125_000 },
    { rate: 2_500_000, limit: 187_500, buffer: 781_250 },
  ],
  [
    { bytesPerSecond: 3_750_000, burstBytes: 250_000 },
    { rate: 3_750_000, limit: 343_750, buffer: 1_041_656 },
  ],
])("computes the reference's bucket for %j", (limit, expected) => {
  expect(bucket(limit)).toEqual(expected);
});

test("also sends the burst in bytes if its time exceeds 32 bits of ticks", () => {
  const limit = { bytesPerSecond: 1_250_000, burstBytes: 536_870_911 };
  // The reference sends only this remainder, which limits the burst to 154.6 s instead of 429.5 s.
  expect(bucket(limit)).toEqual({
    ...{ rate: 1_250_000, limit: 31_250 + 536_870_911, buffer: 6_710_886_375 - 2 ** 32, burst: 536_870_911 },
  });
});

test("sends a rate beyond 32 bits in the 64-bit attribute", () => {
  const limit = { bytesPerSecond: 2 ** 33, burstBytes: 1_000_000 };
  expect(bucket(limit)).toMatchObject({ rate: 2 ** 32 - 1, rate64: 2n ** 33n });
  expect(isBucket(shown(addBucket(3, limit)), limit)).toBe(true);
  expect(isBucket(shown(addBucket(3, limit)), { ...limit, bytesPerSecond: 2 ** 32 - 1 })).toBe(false);
});

test("caps the queue limit at 32 bits", () => {
  expect(bucket({ bytesPerSecond: 2 ** 32, burstBytes: 2 ** 32 - 2 })).toMatchObject({ limit: 2 ** 32 - 1 });
});

test("distinguishes buckets by rate, burst and kind", () => {
  const limit = { bytesPerSecond: 2_500_000, burstBytes: 125_000 };
  const message = shown(addBucket(3, limit));
  expect(isBucket(message, limit)).toBe(true);
  expect(isBucket(message, { ...limit, bytesPerSecond: 2_500_001 })).toBe(false);
  expect(isBucket(message, { ...limit, burstBytes: 126_000 })).toBe(false);
});

test("ignores rounding by the kernel, also where the ticks wrap at 32 bits", () => {
  // 2^32 ticks take 274.877906944 s: this bucket needs slightly longer to fill.
  const limit = { bytesPerSecond: 1_000_000, burstBytes: 274_877_907 };
  expect(bucket(limit).buffer).toBe(0);
  const showing = (buffer: number) => {
    const message = shown(addBucket(3, limit));
    // The offset follows struct tcmsg, TCA_KIND, the headers of TCA_OPTIONS and TCA_TBF_PARMS, two rates and the queue
    // limit.
    new DataView(message.payload.buffer, message.payload.byteOffset).setUint32(20 + 8 + 4 + 4 + 28, buffer, true);
    return isBucket(message, limit);
  };
  expect([0, 30, 2 ** 32 - 30, 100, 2 ** 32 - 100].map(showing)).toEqual([true, true, true, false, false]);
});

test("distinguishes redirections by target device", () => {
  const message = shown(addRedirection(3, 7));
  expect(isRedirection(message, 7)).toBe(true);
  expect(isRedirection(message, 8)).toBe(false);
});
