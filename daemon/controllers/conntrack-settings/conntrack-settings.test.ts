import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { RepairGate } from "../../../pkg/reconcile/repair-gate.ts";
import { SystemError } from "../../../pkg/sys/errors.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import type { Pass } from "../../core/controller.ts";
import { runnable } from "../../core/controller-pass.ts";
import { Drivers } from "../../core/drivers/drivers.ts";
import { Health } from "../../core/health.ts";
import { Facts } from "../../core/topic.ts";
import { optionsCommand } from "../../options.ts";
import { POLICY_STATE, PROXY_TURN } from "../facts.ts";
import { conntrackSettingsController } from "./index.ts";

const FOLDER = "/proc/sys/net/netfilter";
const EACCES = 13;
const clock = new ManualClock();
const SILENT = { onRepair: () => undefined, onContention: () => undefined };

/** Settings that the kernel refuses to change, as in a network namespace other than the host's. */
class GuardedFiles extends FakeFiles {
  readonly readOnly = new Set<string>();

  override writeFile(...[path, ...rest]: Parameters<FakeFiles["writeFile"]>): void {
    if (this.readOnly.has(path)) throw new SystemError("open", path, EACCES);
    super.writeFile(path, ...rest);
  }
}

function bench() {
  const files = new GuardedFiles();
  files.makeDirectory(FOLDER);
  const set = (name: string, value: string) =>
    files.writeFile(`${FOLDER}/${name}`, new TextEncoder().encode(`${value}\n`));
  set("nf_conntrack_max", "65536");
  set("nf_conntrack_buckets", "16384");
  set("nf_conntrack_tcp_timeout_close_wait", "60");
  set("nf_conntrack_timestamp", "0");
  const read = (name: string) => new TextDecoder().decode(files.readFile(`${FOLDER}/${name}`)).trim();
  const facts = new Facts();
  const health = new Health(clock);
  const options = optionsCommand().parse(["--node-name", "n1"], { from: "user" }).opts();
  const kernel = { send: async () => [], commit: async () => undefined };
  const processes = { keep: async () => ({ done: [], failures: [] }) };
  const controller = runnable(
    conntrackSettingsController({ options: options as never, facts, files, health, processors: 8 }),
    { drivers: new Drivers({ kernel, settings: files, processes }), gate: new RepairGate(clock, SILENT) },
  );
  const pass = () => controller.run({ reasons: [], later: () => undefined } as unknown as Pass);
  return { files, read, facts, health, pass };
}

test("changes nothing while another process serves Services", async () => {
  const { read, facts, pass } = bench();
  await pass();
  facts.of(PROXY_TURN).publish({ isOurs: false });
  await pass();
  expect(read("nf_conntrack_max")).toBe("65536");
});

test("enlarges the table when weftd serves Services", async () => {
  const { read, facts, pass } = bench();
  facts.of(PROXY_TURN).publish({ isOurs: true });
  await pass();
  expect([read("nf_conntrack_max"), read("nf_conntrack_buckets"), read("nf_conntrack_tcp_timeout_close_wait")]).toEqual(
    [...["262144", "65536", "3600"]],
  );
});

test("the kernel records the times of flows while policies are enforced, with or without Services", async () => {
  const { read, facts, pass } = bench();
  for (const state of [
    { mode: "audit", hasPolicies: true, fail: "open" },
    { mode: "enforce", hasPolicies: false, fail: "open" },
  ] as const) {
    facts.of(POLICY_STATE).publish(state);
    await pass();
    expect(read("nf_conntrack_timestamp")).toBe("0");
  }
  facts.of(POLICY_STATE).publish({ mode: "enforce", hasPolicies: true, fail: "closed" });
  await pass();
  expect([read("nf_conntrack_timestamp"), read("nf_conntrack_max")]).toEqual(["1", "65536"]);
});

test("warns of settings that cannot be written, and sets the others", async () => {
  const { files, read, facts, health, pass } = bench();
  facts.of(PROXY_TURN).publish({ isOurs: true });
  files.readOnly.add(`${FOLDER}/nf_conntrack_max`);
  await pass();
  expect(read("nf_conntrack_tcp_timeout_close_wait")).toBe("3600");
  expect(health.readiness().text).toMatch(
    /\[!\] conntrack settings: net\.netfilter\.nf_conntrack_max=262144 cannot be set/,
  );
  files.readOnly.clear();
  await pass();
  expect(health.readiness().text).not.toContain("conntrack settings");
});
