/**
 * weftd is stopped and started, also in another version, while pods communicate: no packet and no connection is lost.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Cluster, type Mode, type Node, type Pod } from "./harness/cluster.ts";
import { describeWhere } from "./harness/kernel.ts";
import { buildPrevious, previousCommit } from "./harness/previous.ts";
import { eventually, PATIENCE } from "./harness/process.ts";

const ECHO = 7010;
const OUTSIDE = 7011;
/** Longer than everything that happens meanwhile. */
const TALK_MS = 12_000;
/** A lost packet delays TCP by seconds. A busy machine delays it by less than this. */
const LONGEST_MS = 1000;

const previous = previousCommit();

describeWhere(previous !== undefined)("with a TCP stream and 1,000 pings a second", () => {
  const cleanup = new Cleanup();
  let weftd = "";

  beforeAll(async () => {
    weftd = await buildPrevious(previous ?? "", cleanup);
  });

  afterAll(() => cleanup.run());

  test.concurrent.each<Mode>(["vxlan", "host-gw"])(
    "%s: restart, crash, downgrade and upgrade lose nothing",
    async (mode) => {
      const own = new Cleanup();
      try {
        const { first, pods, cluster } = await start(mode, own);
        const [from, to] = pods;
        await to.inside.echo(ECHO);
        await cluster.nodes[1]?.inside.echo(OUTSIDE);
        const count = TALK_MS;
        const ping = from.inside.run("ping", ["-n", "-q", "-i", "0.001", "-c", String(count), "-W", "2", to.address]);
        const talks = Promise.all([
          from.inside.converse(to.address, ECHO, TALK_MS, 5),
          // Through masquerade, if the mode has it.
          from.inside.converse(cluster.nodes[1]?.address ?? "", OUTSIDE, TALK_MS, 5),
        ]);
        // A failure below also ends the traffic.
        for (const one of [ping, talks]) one.catch(() => undefined);
        const steps: [NodeJS.Signals, string | undefined][] = [
          ["SIGTERM", undefined],
          ["SIGKILL", undefined],
          ["SIGTERM", weftd],
          ["SIGTERM", undefined],
        ];
        const beganMs = performance.now();
        for (const [signal, program] of steps) {
          await first.weftd.stop(signal);
          cluster.restartWeftd(first, program);
          await cluster.ready(first);
          expect((await cluster.peerRoutes(first)).size).toBe(1);
        }
        const tookMs = performance.now() - beganMs;
        const { stdout } = await ping;
        const [stream, outside] = await talks;
        process.stdout.write(
          `${mode}: four starts in ${tookMs.toFixed(0)} ms; ${JSON.stringify({ stream, outside })}\n${stdout}`,
        );
        expect(tookMs).toBeLessThan(TALK_MS * PATIENCE);
        expect(stdout).toContain(`${count} packets transmitted, ${count} received, 0% packet loss`);
        for (const { sent, echoed, longestMs } of [stream, outside]) {
          expect(sent).toBeGreaterThan(100);
          expect(echoed).toBe(sent);
          expect(longestMs).toBeLessThan(LONGEST_MS * PATIENCE);
        }
      } finally {
        await own.run();
      }
    },
    300_000,
  );
});

async function start(
  mode: Mode,
  cleanup: Cleanup,
): Promise<{ cluster: Cluster; first: Node; pods: readonly [Pod, Pod] }> {
  const cluster = await Cluster.start(mode, cleanup);
  const first = await cluster.addNode(1);
  const second = await cluster.addNode(2);
  await eventually(async () => expect((await cluster.peerRoutes(first)).size).toBe(1));
  await eventually(async () => expect((await cluster.peerRoutes(second)).size).toBe(1));
  return { cluster, first, pods: [await cluster.addPod(first, "a"), await cluster.addPod(second, "b")] };
}
