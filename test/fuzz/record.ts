/**
 * Records this machine's kernel's answers to the calls of test/vectors/netlink, after a change of the plugins'
 * requests. Needs root. Records all calls, or the named ones:
 *
 *     hack/setup && hack/in-node node test/fuzz/record.ts [bridge-ADD ...]
 *
 * Each call has its own node and pod in new network namespaces. `input` is not changed. A new call is a new file with
 * empty `answers` and a line in `STATES`.
 */
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { Cleanup } from "../live/harness/cleanup.ts";
import { makeFolder } from "../live/harness/folder.ts";
import { Inside } from "../live/harness/inside.ts";
import { sweepLeftovers } from "../live/harness/leftovers.ts";
import { makeNamespace } from "../live/harness/namespace.ts";
import { CALL, formatAnswers, type Interfaces, type Recorded, readRecorded, writeRecorded } from "./recorded.ts";
import { compileRecorder } from "./recorder.ts";
import { RECORDING_FILE, type Turns } from "./recording.ts";

/** The state of a node before the recorded call. */
interface State {
  /** Calls made before, in this order. */
  readonly calls: readonly string[];
  /** Shell commands that run next. */
  readonly commands?: string;
}

/** Another program's firewall. */
const SITE = "table inet site { chain forward { type filter hook forward priority filter; policy drop; }; }";

/**
 * The next pod gets the address of the previous pod, whose hardware address the kernel still has and, since it receives
 * no ARP, keeps. The kernel forgets entries when a bridge without ports goes down, within a second, so this entry is
 * made afterwards.
 */
const REUSED = [
  "rm /var/lib/cni/networks/net/last_reserved_ip.*",
  "nft 'table arp site { chain input { type filter hook input priority filter; policy drop; }; }'",
  "timeout 10 sh -c 'until ip link show cni0 | grep -q state.DOWN; do sleep 0.1; done'",
  "ip neighbour replace 10.1.0.2 lladdr 86:5e:d0:b8:db:04 nud stale dev cni0",
].join(" && ");

const STATES: Readonly<Record<string, State>> = {
  "bridge-ADD": { calls: [] },
  "bridge-ADD-again": { calls: ["bridge-ADD", "bridge-DEL"], commands: REUSED },
  "bridge-CHECK": { calls: ["bridge-ADD"] },
  "bridge-DEL": { calls: ["bridge-ADD", "firewall-ADD", "portmap-ADD"], commands: `nft '${SITE}'` },
  "firewall-ADD": { calls: ["bridge-ADD"] },
  "firewall-CHECK": { calls: ["bridge-ADD", "firewall-ADD"] },
  "firewall-DEL": { calls: ["bridge-ADD", "firewall-ADD"] },
  "portmap-ADD": { calls: ["bridge-ADD"] },
  "portmap-CHECK": { calls: ["bridge-ADD", "portmap-ADD"] },
  "portmap-DEL": { calls: ["bridge-ADD", "portmap-ADD"] },
  "bandwidth-ADD": { calls: ["bridge-ADD"] },
  "bandwidth-CHECK": { calls: ["bridge-ADD", "bandwidth-ADD"] },
  "bandwidth-DEL": { calls: ["bridge-ADD", "bandwidth-ADD"] },
};

class RecordedNode {
  readonly #host: Inside;
  readonly #pod: Inside;
  readonly #folder: string;
  readonly #bin: string;

  private constructor(host: Inside, pod: Inside, folder: string, bin: string) {
    this.#host = host;
    this.#pod = pod;
    this.#folder = folder;
    this.#bin = bin;
  }

  static async make(bin: string, cleanup: Cleanup): Promise<RecordedNode> {
    const folder = makeFolder("record", cleanup);
    const host = await makeNamespace("record-host", cleanup);
    const pod = await makeNamespace("record-pod", cleanup);
    const inside = await Inside.enter(host, cleanup, folder);
    // In the node's own mount namespace, the pod has the path of the recorded calls.
    const bind = 'mkdir "$0" && touch "$0/a" && mount --bind "$1" "$0/a" && mount --rbind "$0" /run/netns';
    await inside.succeed("sh", ["-c", bind, `${folder}/netns`, pod.path]);
    return new RecordedNode(inside, await Inside.enter(pod, cleanup), folder, bin);
  }

  /** Calls a plugin. Throws its output if it fails. */
  async call({ plugin, verb, input }: Recorded): Promise<{ readonly interfaces: Interfaces; readonly turns: Turns }> {
    const file = `${this.#folder}/turns.json`;
    const env = { ...CALL, CNI_COMMAND: verb, CNI_PATH: this.#bin, [RECORDING_FILE]: file };
    const { status, stdout, stderr } = await this.#host.run(`${this.#bin}/${plugin}`, [], JSON.stringify(input), env);
    if (status !== 0) throw new Error(`${verb} of ${plugin} failed: ${stdout}${stderr}`);
    const { interfaces = [] } = JSON.parse(stdout || "{}") as { interfaces?: Interfaces };
    return { interfaces, turns: JSON.parse(readFileSync(file, "utf8")) as Turns };
  }

  async do(commands: string): Promise<void> {
    await this.#host.succeed("sh", ["-c", commands]);
  }

  /**
   * Gives the devices made by bridge the names and hardware addresses of `told`, in the same order. Needs Linux 6.2.
   */
  async rename(made: Interfaces, told: Interfaces): Promise<void> {
    for (const [at, { name, mac, sandbox }] of told.entries()) {
      const before = made[at]?.name;
      if (before === undefined) throw new Error(`bridge made no interface that can be renamed to ${name}`);
      const inside = sandbox === undefined ? this.#host : this.#pod;
      await inside.succeed("ip", ["link", "set", "dev", before, "name", name, "address", mac]);
    }
  }
}

async function record(name: string, calls: ReadonlyMap<string, Recorded>, node: RecordedNode): Promise<Recorded> {
  const recorded = callNamed(name, calls);
  const state = STATES[name];
  if (state === undefined) throw new Error(`${name}: STATES has no entry for the node's earlier state`);
  const { prevResult } = recorded.input;
  for (const call of state.calls.map((before) => callNamed(before, calls))) {
    if (call.plugin === "bridge") {
      // The node has only the tables of a chained plugin.
      const input = recorded.plugin === "bridge" ? call.input : { ...call.input, ipMasq: false };
      const { interfaces } = await node.call({ ...call, input });
      await node.rename(interfaces, prevResult?.interfaces ?? []);
    } else await node.call({ ...call, input: { ...call.input, prevResult } });
  }
  if (state.commands !== undefined) await node.do(state.commands);
  const { turns } = await node.call(recorded);
  return { ...recorded, answers: formatAnswers(turns) };
}

function callNamed(name: string, calls: ReadonlyMap<string, Recorded>): Recorded {
  const call = calls.get(name);
  if (call === undefined) throw new Error(`there is no call ${name}: expected one of ${[...calls.keys()].join(", ")}`);
  return call;
}

await sweepLeftovers();
const calls = readRecorded();
const wanted = process.argv.length > 2 ? process.argv.slice(2) : [...calls.keys()];
const cleanup = new Cleanup();
void cleanup.onSignals();
const compiled = new Cleanup();
try {
  const plugins = new Set([...calls.values()].map(({ plugin }) => plugin));
  const bin = await compileRecorder([...plugins, "host-local"], compiled);
  for (const name of wanted) {
    writeRecorded(name, await record(name, calls, await RecordedNode.make(bin, cleanup)));
    await cleanup.run();
    console.log(`record: ${name} as Linux ${release()} answers it`);
  }
} catch (error) {
  console.error(`record: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = cleanup.interruption ?? 1;
} finally {
  await cleanup.run();
  await compiled.run();
}
