import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { Health } from "../../core/health.ts";
import { openLog } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Runner } from "../../core/runner.ts";
import { Facts } from "../../core/topic.ts";
import { GUARDED_DEVICES } from "../facts.ts";
import { checksumController } from "./checksum.ts";
import { ChecksumGuard } from "./checksum-guard.ts";

test("peers that are silent for a minute do not make weftd unhealthy", async () => {
  const clock = new ManualClock();
  const metrics = new Metrics();
  const log = openLog("fatal", "n1");
  const guard = new ChecksumGuard({
    offload: { isOn: async () => true, set: async () => undefined },
    probe: () => new Promise(() => undefined),
    ...{ clock, metrics, log },
    onBroken: () => undefined,
  });
  const facts = new Facts();
  const runner = new Runner({ clock, metrics, log, kernel: { snapshot: () => Promise.reject(new Error("not read")) } });
  const health = new Health(clock);
  health.shows(() => runner.reports());
  runner.start(checksumController(guard, facts));
  const [local, peer] = [parseAddress("10.244.1.0"), parseAddress("10.244.2.0")];
  facts.of(GUARDED_DEVICES).publish([{ name: "flannel.1", index: 7, local, peers: [peer] }]);
  clock.advance(0);
  await new Promise((resolve) => setImmediate(resolve));
  expect(runner.reports()).toMatchObject([{ passes: { success: 1 } }]);
  clock.advance(59_000);
  clock.advance(2000);
  expect(health.liveness().isGood).toBe(true);
});
