import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { openLog } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { ChecksumGuard } from "./checksum-guard.ts";

const device = {
  name: "flannel.1",
  index: 7,
  local: parseAddress("10.244.1.0"),
  peers: [parseAddress("10.244.2.0"), parseAddress("10.244.3.0")],
};

/** `answers` returns whether peers answer, given the state of the offload and the number of earlier probes. */
function bench(answers: (isOn: boolean, asked: number) => boolean, initially = true) {
  const clock = new ManualClock();
  const state = { isOn: initially, asked: 0, changes: [] as boolean[], told: [] as string[] };
  const guard = new ChecksumGuard({
    offload: {
      isOn: async () => state.isOn,
      set: async (_device, isOn) => {
        state.isOn = isOn;
        state.changes.push(isOn);
      },
    },
    probe: async () => answers(state.isOn, state.asked++),
    clock,
    metrics: new Metrics(),
    log: openLog("fatal", "n1"),
    onBroken: (message) => state.told.push(message),
  });
  const round = async (devices = [device], restMs = 2 * 3_600_000) => {
    guard.watch(devices);
    await guard.settled();
    clock.advance(restMs);
  };
  return { guard, state, round };
}

test("a peer's answer is sufficient: the offload stays, and no further probe is sent", async () => {
  const { state, round } = bench(() => true);
  await round();
  await round();
  expect(state).toEqual({ isOn: true, asked: 1, changes: [], told: [] });
});

test("a new device of the same name is tested again", async () => {
  const { state, round } = bench(() => true);
  await round();
  await round([{ ...device, index: 8 }]);
  expect(state.asked).toBe(2);
});

test("if peers answer only without the offload, it is switched off and reported", async () => {
  const { state, round } = bench((isOn) => !isOn);
  await round();
  expect(state.changes).toEqual([]);
  await round();
  expect(state.isOn).toBe(false);
  expect(state.told).toEqual([expect.stringContaining("driver below flannel.1")]);
  const { asked } = state;
  await round();
  expect(state.asked).toBe(asked);
});

test("if no peer answers either way, it stays on", async () => {
  const { state, round } = bench(() => false);
  await round();
  await round();
  expect(state).toMatchObject({ isOn: true, changes: [false, true], told: [] });
});

test("peers that start to answer during the test prove nothing", async () => {
  // The peers are silent at first and then answer always: the offload is not the cause.
  const { state, round } = bench((_isOn, asked) => asked >= 4);
  await round();
  await round();
  expect(state).toMatchObject({ isOn: true, told: [] });
});

test("an inconsistent result is retried soon, without a growing back-off", async () => {
  // Two peers, both silent with the offload. Without it, the first answers and the second does not.
  let rounds = 0;
  const { state, round } = bench((isOn, asked) => {
    const isFirst = !isOn && rounds < 9 ? asked % 2 === 0 : !isOn;
    return !isOn && isFirst;
  });
  for (; rounds < 11; rounds++) await round([device], 10_000);
  expect(state.told).toHaveLength(1);
});

test("an error leaves the offload on, and the test is retried", async () => {
  let broken = true;
  const { state, round } = bench((isOn) => {
    if (!isOn && broken) throw new Error("ENETUNREACH");
    return false;
  });
  await round();
  await round();
  expect(state).toMatchObject({ isOn: true, changes: [false, true] });
  broken = false;
  await round();
  expect(state.changes).toEqual([false, true, false, true]);
});

test("an offload that is already off is not changed", async () => {
  const { state, round } = bench(() => true, false);
  await round();
  expect(state).toEqual({ isOn: false, asked: 0, changes: [], told: [] });
});

test.each([3, 4, 5, 6, 7, 8, 9])(
  "a stop at probe %i of a test leaves the offload on, and sends no further probe",
  async (question) => {
    let stopped: Promise<void> | undefined;
    const { guard, state, round } = bench((isOn, asked) => {
      if (asked === question) stopped = guard.stop();
      return !isOn;
    });
    await round();
    await round();
    await stopped;
    expect(state).toMatchObject({ isOn: true, asked: question + 1, told: [] });
  },
);
