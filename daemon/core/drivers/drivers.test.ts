import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseSubnet } from "../../../pkg/ip/prefix.ts";
import { addRoute } from "../../../pkg/kernel/route.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import { identityText, type Request } from "../../../pkg/netlink/message.ts";
import {
  fileStep,
  type ProcessStep,
  processStep,
  requestStep,
  settingStep,
  transactionStep,
} from "../../../pkg/reconcile/plan-step.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { Drivers, type PlanOwner } from "./drivers.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-drivers-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const route = (subnet: string) => addRoute({ destination: parseSubnet(subnet) });

function bench() {
  const settings = new FakeFiles();
  settings.makeDirectory("/proc/sys/net");
  settings.writeFile("/proc/sys/net/a", new TextEncoder().encode("0"));
  const sent: (readonly Request[])[] = [];
  const committed: (readonly Request[])[] = [];
  const kept: { names: readonly string[]; changedFiles: readonly string[]; isComplete: boolean }[] = [];
  const refused: string[] = [];
  const resting = new Set<string>();
  let refusal: NetlinkError | undefined;
  const drivers = new Drivers({
    kernel: {
      send: async (requests) => {
        sent.push(requests);
        return refusal === undefined ? [] : [refusal];
      },
      commit: async (requests) => void committed.push(requests),
    },
    settings,
    processes: {
      keep: async (_owner, steps: readonly ProcessStep[], { changedFiles, isComplete }) => {
        kept.push({ names: steps.map(({ name }) => name), changedFiles: [...changedFiles], isComplete });
        return { done: [], failures: [] };
      },
    },
  });
  const owner: PlanOwner = {
    name: "playing",
    mayPutBack: ({ object }) => !resting.has(identityText(object)),
    refused: (object) => refused.push(identityText(object)),
  };
  const apply = (steps: Parameters<Drivers["apply"]>[1], isComplete = true) => drivers.apply(owner, steps, isComplete);
  return {
    ...{ apply, settings, sent, committed, kept, refused, resting },
    refuse: (request: Request) => {
      refusal = new NetlinkError(request, 101, undefined, "a test");
    },
  };
}

test("carries out steps of all kinds in order, and sends neighbouring requests together", async () => {
  const { apply, settings, sent, committed, kept } = bench();
  const path = join(folder, "made", "bird.conf");
  const [a, b, c] = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"].map((subnet) => requestStep(route(subnet)));
  if (a === undefined || b === undefined || c === undefined) throw new Error("three routes");
  const transaction = transactionStep({ kind: "table", key: "inet weft" }, [route("10.9.0.0/16")]);
  const bird = processStep("bird", ["bird", "-f"]);
  const steps = [a, b, settingStep(["net", "a"], "1"), fileStep(path, "router id", 0o600), transaction, c, bird];
  const { done, failures, resting } = await apply(steps);
  expect(done).toEqual(steps.slice(0, -1));
  expect([failures, resting]).toEqual([[], []]);
  expect(sent.map((requests) => requests.length)).toEqual([2, 1]);
  expect(committed).toHaveLength(1);
  expect(settings.snapshot()["/proc/sys/net/a"]).toBe("1");
  expect(readFileSync(path, "utf8")).toBe("router id");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(kept).toEqual([{ names: ["bird"], changedFiles: [path], isComplete: true }]);
});

test("skips steps whose result already exists", async () => {
  const { apply, kept } = bench();
  const path = join(folder, "bird.conf");
  const steps = [settingStep(["net", "a"], "1"), fileStep(path, "router id", 0o600)];
  expect((await apply(steps)).done).toEqual(steps);
  expect((await apply(steps)).done).toEqual([]);
  expect(kept.at(-1)?.changedFiles).toEqual([]);
  writeFileSync(path, "something else");
  expect((await apply(steps)).done).toEqual(steps.slice(1));
});

test("corrects permissions, and removes a file that must be absent", async () => {
  const { apply } = bench();
  const path = join(folder, "key");
  writeFileSync(path, "secret", { mode: 0o644 });
  expect((await apply([fileStep(path, "secret", 0o600)])).done).toHaveLength(1);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect((await apply([fileStep(path, undefined)])).done).toHaveLength(1);
  expect(() => statSync(path)).toThrow("ENOENT");
  expect((await apply([fileStep(path, undefined)])).done).toEqual([]);
});

test("keeps the permissions of a file if the step has no mode", async () => {
  const { apply } = bench();
  const path = join(folder, "key");
  writeFileSync(path, "secret", { mode: 0o600 });
  await apply([fileStep(path, "another secret")]);
  expect([readFileSync(path, "utf8"), statSync(path).mode & 0o777]).toEqual(["another secret", 0o600]);
});

test("reports a failed step with its error and carries out the other steps", async () => {
  const { apply, settings, refuse, refused } = bench();
  writeFileSync(join(folder, "file"), "");
  const inFile = fileStep(join(folder, "file", "below"), "x");
  const request = route("10.1.0.0/16");
  refuse(request);
  const steps = [requestStep(request), inFile, settingStep(["net", "none"], "1"), settingStep(["net", "a"], "1")];
  const { done, failures } = await apply(steps);
  expect(failures.map(({ step }) => step)).toEqual(steps.slice(0, 3));
  expect(failures.map(({ error }) => String(error))).toEqual([
    expect.stringContaining("ip route add 10.1.0.0/16"),
    expect.stringMatching(/EEXIST|ENOTDIR/),
    expect.stringContaining("net.none=1 cannot be set"),
  ]);
  expect(done).toEqual(steps.slice(3));
  expect(settings.snapshot()["/proc/sys/net/a"]).toBe("1");
  expect(refused).toEqual([identityText(request.object)]);
});

test("the gate can hold back repairs, and is not consulted for other steps", async () => {
  const { apply, settings, sent, resting } = bench();
  const request = route("10.1.0.0/16");
  const setting = settingStep(["net", "a"], "1");
  for (const { object } of [request, setting]) resting.add(identityText(object));
  const held = [requestStep(request, true), settingStep(["net", "a"], "1", true)];
  expect(await apply(held)).toEqual({ done: [], failures: [], resting: held });
  expect([sent, settings.snapshot()["/proc/sys/net/a"]]).toEqual([[], "0"]);
  await apply([requestStep(request), settingStep(["net", "a"], "1")]);
  expect([sent.length, settings.snapshot()["/proc/sys/net/a"]]).toEqual([1, "1"]);
});
