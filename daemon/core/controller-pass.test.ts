import { expect, test } from "vitest";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import { fileStep, type PlanStep, type StepPlan, settingStep } from "../../pkg/reconcile/plan-step.ts";
import type { Controller, PlanOutcome } from "./controller.ts";
import { runnable } from "./controller-pass.ts";
import type { Drivers } from "./drivers/drivers.ts";

const EMPTY: KernelSnapshot = { links: [], addresses: [], routes: [], neighbours: [], forwarding: [] };
const GATE = { mayPutBack: () => true, refused: () => undefined, assertNothingRests: () => undefined };
const PASS = {
  reasons: ["a test"],
  kernel: { snapshot: async () => ({ state: EMPTY, port: 7 }) },
  later: () => undefined,
};
const step = (name: string) => fileStep(`/run/${name}`, name);

/** A controller that returns the given plans. `applied` has the steps that the driver received. */
function bench(plans: readonly StepPlan[], more: Partial<Controller<string, number>> = {}) {
  const applied: { texts: readonly string[]; isComplete: boolean }[] = [];
  const outcomes: PlanOutcome<string, number>[] = [];
  let round = 0;
  const controller: Controller<string, number> = {
    name: "playing",
    subscriptions: {},
    desired: () => "wanted",
    observe: () => ++round,
    plan: () => plans[round - 1] ?? { steps: [] },
    settled: (_pass, outcome) => void outcomes.push(outcome),
    ...more,
  };
  const failures = new Map<string, Error>();
  const drivers: Pick<Drivers, "apply"> = {
    apply: async (_owner, steps, isComplete) => {
      applied.push({ texts: steps.map(({ object }) => object.key), isComplete });
      const failed = (one: PlanStep) => failures.get(one.object.key);
      return {
        done: steps.filter((one) => failed(one) === undefined),
        failures: steps.flatMap((one) => (failed(one) === undefined ? [] : [{ step: one, error: failed(one) }])),
        resting: [],
      };
    },
  };
  const run = () => runnable(controller, { drivers, gate: GATE }).run(PASS);
  return { run, applied, outcomes, failures };
}

test("an incomplete plan is followed by another round, and the outcome has the steps of all rounds", async () => {
  const { run, applied, outcomes } = bench([{ steps: [step("a")], isComplete: false }, { steps: [step("b")] }]);
  await run();
  expect(applied).toEqual([
    { texts: ["/run/a"], isComplete: false },
    { texts: ["/run/b"], isComplete: true },
  ]);
  expect(outcomes).toMatchObject([{ desired: "wanted", observed: 2, isComplete: true }]);
  expect(outcomes[0]?.done.map(({ object }) => object.key)).toEqual(["/run/a", "/run/b"]);
});

test("a pass observes and changes nothing while the desired state is unknown", async () => {
  const { run, applied, outcomes } = bench([{ steps: [step("a")] }], { desired: () => undefined });
  await run();
  expect([applied, outcomes]).toEqual([[], []]);
});

test("a failed step fails the pass after the independent steps are done", async () => {
  const { run, failures, outcomes } = bench([{ steps: [step("a"), step("b")] }]);
  failures.set("/run/a", new Error("no space left"));
  await expect(run()).rejects.toThrow("no space left");
  expect(outcomes[0]?.done.map(({ object }) => object.key)).toEqual(["/run/b"]);
});

test("a pass ends if the step that the next round needs fails", async () => {
  const { run, failures, applied, outcomes } = bench([
    { steps: [step("a")], isComplete: false },
    { steps: [step("b")] },
  ]);
  failures.set("/run/a", new Error("refused"));
  await expect(run()).rejects.toThrow("refused");
  expect([applied.length, outcomes[0]?.isComplete]).toEqual([1, false]);
});

test("a pass gives up after three rounds if an object vanishes each time it is made", async () => {
  const plan = { steps: [step("a")], isComplete: false };
  const { run, applied } = bench([plan, plan, plan, plan]);
  await expect(run()).rejects.toThrow(
    /\/run\/a: the object vanishes as soon as it is made; another program removes it/,
  );
  expect(applied).toHaveLength(3);
});

test("the error of a pass names the failures of preparation, steps and report", async () => {
  const { run, failures } = bench([{ steps: [step("a")] }], {
    prepare: () => Promise.reject(new Error("no table")),
    settled: () => Promise.reject(new Error("no report")),
  });
  failures.set("/run/a", new Error("no step"));
  await expect(run()).rejects.toThrow("no table; no step; no report");
});

test("a controller decides which failed steps fail the pass", async () => {
  const { run, failures } = bench([{ steps: [step("a"), settingStep(["net", "b"], "1")] }], {
    errorsOf: (outcome) => outcome.failures.filter(({ step }) => step.kind === "setting").map(({ error }) => error),
  });
  failures.set("/run/a", new Error("no file"));
  await run();
  failures.set("net.b", new Error("no setting"));
  await expect(bench([]).run()).resolves.toBeUndefined();
});

test("each round reads one snapshot of its own", async () => {
  const seen: number[] = [];
  let snapshots = 0;
  const kernel = { snapshot: async () => ({ state: EMPTY, port: ++snapshots }) };
  const look = async (view: typeof kernel) => void seen.push((await view.snapshot()).port);
  let rounds = 0;
  const controller: Controller<string, number> = {
    name: "playing",
    subscriptions: {},
    desired: async (pass) => {
      await look(pass.kernel as typeof kernel);
      return "wanted";
    },
    observe: async (view) => {
      await look(view as typeof kernel);
      return ++rounds;
    },
    plan: () => ({ steps: [step("a")], isComplete: rounds === 2 }),
  };
  const drivers: Pick<Drivers, "apply"> = { apply: async () => ({ done: [], failures: [], resting: [] }) };
  await runnable(controller, { drivers, gate: GATE }).run({ ...PASS, kernel });
  expect(seen).toEqual([1, 1, 2]);
});

test("the next round continues with what was made, even if another step fails", async () => {
  const { run, failures, applied, outcomes } = bench([
    { steps: [step("bridge"), step("pod")], isComplete: false },
    { steps: [step("address"), step("pod")] },
  ]);
  failures.set("/run/pod", new Error("refused"));
  await expect(run()).rejects.toThrow(/^refused$/);
  expect(applied.map(({ texts }) => texts[0])).toEqual(["/run/bridge", "/run/address"]);
  expect(outcomes).toMatchObject([{ isComplete: true, failures: [{ step: { path: "/run/pod" } }] }]);
});

test("the plan sees changes that other programs made during prepare", async () => {
  let isChanged = false;
  const seen: number[] = [];
  const controller: Controller<string, number> = {
    name: "playing",
    subscriptions: {},
    desired: async ({ kernel }) => `wanted ${(await kernel.snapshot()).port}`,
    prepare: () => {
      isChanged = true;
    },
    observe: async (kernel) => (await kernel.snapshot()).port,
    plan: (_desired, observed) => {
      seen.push(observed);
      return { steps: [] };
    },
  };
  const kernel = { snapshot: async () => ({ state: EMPTY, port: isChanged ? 2 : 1 }) };
  const drivers = { apply: async () => ({ done: [], failures: [], resting: [] }) };
  await runnable(controller, { drivers, gate: GATE }).run({ ...PASS, kernel });
  expect(seen).toEqual([2]);
});
