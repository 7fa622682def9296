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

/** `answers` says whether peers answer, given the state of the offload and how often they were asked before. */
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

test("a peer's answer settles it: nothing is changed, and nobody is asked again", async () => {
  const { state, round } = bench(() => true);
  await round();
  await round();
  expect(state).toEqual({ isOn: true, asked: 1, changes: [], told: [] });
});

test("a new device under the same name is tried anew", async () => {
  const { state, round } = bench(() => true);
  await round();
  await round([{ ...device, index: 8 }]);
  expect(state.asked).toBe(2);
});

test("where peers answer without the offload only, it is switched off and told", async () => {
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

test("where nobody answers either way, it stays on", async () => {
  const { state, round } = bench(() => false);
  await round();
  await round();
  expect(state).toMatchObject({ isOn: true, changes: [false, true], told: [] });
});

test("peers that come up in the midst of it are no proof", async () => {
  // Silent at first, and answering ever after: the offload has nothing to do with it.
  const { state, round } = bench((_isOn, asked) => asked >= 4);
  await round();
  await round();
  expect(state).toMatchObject({ isOn: true, told: [] });
});

test("an answer that is missed among others' has it tried again soon, not ever later", async () => {
  // Two peers: with the offload both are silent. The first of the answers without it comes, the second one does not.
  let rounds = 0;
  const { state, round } = bench((isOn, asked) => {
    const isFirst = !isOn && rounds < 9 ? asked % 2 === 0 : !isOn;
    return !isOn && isFirst;
  });
  for (; rounds < 11; rounds++) await round([device], 10_000);
  expect(state.told).toHaveLength(1);
});

test("an error on the way leaves it on, and is tried again", async () => {
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

test("what is off already is left to whoever did it", async () => {
  const { state, round } = bench(() => true, false);
  await round();
  expect(state).toEqual({ isOn: false, asked: 0, changes: [], told: [] });
});

test.each([3, 4, 5, 6, 7, 8, 9])(
  "a stop at question %i of a trial leaves it on, and asks nobody else",
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
