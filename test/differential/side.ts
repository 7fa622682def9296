/** One of the two executables in a comparison: runs a case in new namespaces, and returns the observations. */
import { dirname } from "node:path";
import { Cleanup } from "../live/harness/cleanup.ts";
import { makeFolder } from "../live/harness/folder.ts";
import { Inside } from "../live/harness/inside.ts";
import { makeNamespace, type Namespace, removeNamespace } from "../live/harness/namespace.ts";
import { giveOwnRun } from "../live/harness/own-run.ts";
import { REFERENCE } from "../live/harness/plugin-bed.ts";
import type { Story } from "./comparison.ts";
import { Labels } from "./labels.ts";
import { OBSERVE, OBSERVE_FILES, readDevices, readFiles, readKernel } from "./observation.ts";
import type { Call, Case, Place, Script, Step, Version } from "./table.ts";

type Json = Record<string, unknown>;

interface Taken {
  readonly name: string;
  readonly status: number;
  readonly stdout: string;
}

interface Ground {
  readonly places: ReadonlyMap<Place, Namespace>;
  readonly results: Map<string, unknown>;
  readonly labels: Labels;
  /** Enters the place with an agent, for traffic. */
  readonly enter: (place: Place) => Promise<Inside>;
}

const DEFAULT_STEPS: readonly Step[] = ["ADD", "CHECK", "DEL", "DEL"];
const PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

/** The kernel's duplicate address detection ends at once, without a change of the plugin's own settings. */
const NO_WAITING =
  "for key in dad_transmits router_solicitation_delay; do echo 0 >/proc/sys/net/ipv6/conf/default/$key; done";

const UPLINK = `ip link add up0 type veth peer name up0 netns $OUTSIDE
ip address add 198.51.100.1/24 dev up0; ip address add 2001:db8:1::1/64 dev up0 nodad; ip link set up0 up
ip -n $OUTSIDE address add 198.51.100.2/24 dev up0; ip -n $OUTSIDE address add 2001:db8:1::2/64 dev up0 nodad
ip -n $OUTSIDE link set up0 up
ip route add default via 198.51.100.2; ip -6 route add default via 2001:db8:1::2`;

export class Side {
  readonly #agent: Inside;
  readonly #bin: string;
  readonly #label: string;
  readonly #cleanup: Cleanup;

  private constructor(agent: Inside, bin: string, label: string, cleanup: Cleanup) {
    this.#agent = agent;
    this.#bin = bin;
    this.#label = label;
    this.#cleanup = cleanup;
  }

  /** One agent serves all cases: it has private folders, and enters each case's namespaces. */
  static async make(bin: string, label: string, cleanup: Cleanup): Promise<Side> {
    const home = await makeNamespace(`${label}-home`, cleanup);
    const agent = await Inside.enter(home, cleanup, makeFolder(label, cleanup));
    await giveOwnRun(agent);
    return new Side(agent, bin, label, cleanup);
  }

  /** Runs the case. Removes the namespaces and the files in any event. */
  async tell(plugin: string, theCase: Case, version: Version): Promise<Story> {
    const places = new Map<Place, Namespace>();
    const labels = new Labels(JSON.stringify(theCase));
    const own = new Cleanup();
    const ground: Ground = { places, results: new Map(), labels, enter: entrance(places, own) };
    try {
      const wanted = ["node", "pod", "other", ...(theCase.uplink ? ["outside"] : [])] as Place[];
      await every(wanted, async (place) => {
        places.set(place, await makeNamespace(`${this.#label}-${place}`, this.#cleanup));
        await this.#script(ground, { in: place, run: NO_WAITING });
      });
      if (theCase.uplink) await this.#prepare(ground, { in: "node", run: UPLINK });
      for (const script of theCase.setup ?? []) await this.#prepare(ground, script);
      for (const { in: place, port } of theCase.listening ?? []) await (await ground.enter(place)).listen(port);
      const story: Json = {};
      for (const [at, step] of (theCase.steps ?? DEFAULT_STEPS).entries()) {
        const taken = await this.#take(ground, plugin, theCase, version, step);
        const { node, pod, files } = await this.#look(ground);
        labels.meet([...readDevices(pod), ...readDevices(node)]);
        story[`${at + 1} ${taken.name}`] = {
          ...told(taken, labels),
          ...{ node: readKernel(labels.in(node)), pod: readKernel(labels.in(pod)), files: readFiles(labels.in(files)) },
        };
      }
      return story;
    } finally {
      await own.run();
      await every([...places.values()], ({ name }) => removeNamespace(name));
      await this.#agent.succeed("sh", ["-c", "rm -rf /var/lib/cni/* /run/cni/*"]);
    }
  }

  async #take(ground: Ground, plugin: string, theCase: Case, version: Version, step: Step): Promise<Taken> {
    if (typeof step === "object" && "in" in step) {
      const { status, stdout } = await this.#script(ground, step);
      return { name: `in ${step.in}`, status, stdout };
    }
    if (typeof step === "object" && "from" in step) {
      const inside = await ground.enter(step.from);
      const stdout = await inside.seenBy(step.to, step.port).catch(() => "nobody answers");
      return { name: `from ${step.from} to ${step.to}`, status: 0, stdout };
    }
    const call = typeof step === "string" ? { verb: step } : step;
    return { name: call.verb, ...(await this.#chain(ground, plugin, theCase, version, call)) };
  }

  /** Makes the plugin's call. On an attachment's first or last call, also calls the earlier plugins of the list. */
  async #chain(ground: Ground, plugin: string, theCase: Case, version: Version, call: Call) {
    const key = attachmentOf(call, theCase);
    const before = (theCase.before ?? []).map((conf) => ({ name: "net", cniVersion: version, ...conf }));
    let previous: unknown;
    if (call.verb === "ADD") {
      for (const conf of before) {
        const input = previous === undefined ? conf : { ...conf, prevResult: previous };
        const answer = await this.#call(ground, `${REFERENCE}/${conf.type}`, theCase, call, input);
        if (answer.status !== 0) throw new Error(`the earlier plugin ${conf.type}: ${answer.stdout}`);
        previous = JSON.parse(answer.stdout);
      }
    } else if (call.remembers !== false && (call.verb === "CHECK" || (call.verb === "DEL" && version >= "0.4.0"))) {
      previous = ground.results.get(key);
    }
    const conf: Json = { cniVersion: version, name: "net", type: plugin, ...theCase.conf, ...call.conf };
    const input = previous === undefined ? conf : { ...conf, prevResult: previous };
    const bin = call.by === "reference" ? REFERENCE : this.#bin;
    const answer = await this.#call(ground, `${bin}/${plugin}`, theCase, call, input);
    if (call.verb === "ADD" && answer.status === 0) ground.results.set(key, JSON.parse(answer.stdout));
    if (call.verb === "DEL" && ground.results.delete(key))
      for (const conf of [...before].reverse())
        await this.#call(ground, `${REFERENCE}/${conf.type}`, theCase, call, { ...conf, prevResult: previous });
    return answer;
  }

  async #call({ places }: Ground, file: string, theCase: Case, call: Call, input: unknown) {
    const pod = call.pod ?? "pod";
    const env = {
      ...{ CNI_COMMAND: call.verb, CNI_CONTAINERID: call.containerId ?? (pod === "other" ? "c2" : "c1") },
      CNI_NETNS: pod === "none" ? "" : pod === "gone" ? "/run/netns/weft-nobody" : (places.get(pod)?.path ?? ""),
      CNI_IFNAME: call.ifName ?? theCase.ifName ?? "eth0",
      ...{ CNI_ARGS: call.args ?? theCase.args ?? "", CNI_PATH: dirname(file), PATH },
    };
    const text = JSON.stringify(input)
      .replaceAll("$POD", places.get("pod")?.path ?? "")
      .replaceAll("$OTHER", places.get("other")?.path ?? "");
    return this.#agent.run("nsenter", [`--net=${places.get("node")?.path}`, file], text, env);
  }

  #script({ places }: Ground, { in: place, run: script }: Script) {
    const variables = Object.fromEntries([...places].map(([at, { name }]) => [at.toUpperCase(), name]));
    const args = [`--net=${places.get(place)?.path}`, "sh", "-c", script];
    return this.#agent.run("nsenter", args, "", { ...variables, PATH });
  }

  async #prepare(ground: Ground, script: Script): Promise<void> {
    const { status, stdout, stderr } = await this.#script(ground, { ...script, run: `set -e\n${script.run}` });
    if (status !== 0) throw new Error(`setup in ${script.in}: ${stderr || stdout}`);
  }

  async #look(ground: Ground): Promise<{ node: string; pod: string; files: string }> {
    const [node, pod, files] = await Promise.all([
      this.#script(ground, { in: "node", run: OBSERVE }),
      this.#script(ground, { in: "pod", run: OBSERVE }),
      this.#agent.succeed("sh", ["-c", OBSERVE_FILES]),
    ]);
    return { node: node.stdout, pod: pod.stdout, files };
  }
}

/** Runs the task for all at once. Throws a failure only after all have ended, so that none is still running. */
async function every<T>(all: readonly T[], task: (one: T) => Promise<void>): Promise<void> {
  const outcomes = await Promise.allSettled(all.map(task));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}

/** Opens each place once. */
function entrance(places: ReadonlyMap<Place, Namespace>, cleanup: Cleanup): Ground["enter"] {
  const agents = new Map<Place, Promise<Inside>>();
  return (place) => {
    const namespace = places.get(place);
    if (namespace === undefined) throw new Error(`this case has no place "${place}"`);
    const agent = agents.get(place) ?? Inside.enter(namespace, cleanup);
    agents.set(place, agent);
    return agent;
  };
}

function attachmentOf(call: Call, theCase: Case): string {
  return `${call.containerId ?? (call.pod === "other" ? "c2" : "c1")} ${call.ifName ?? theCase.ifName ?? "eth0"}`;
}

/** For an error, only the code: the texts differ by design. */
function told({ name, status, stdout }: Taken, labels: Labels): Json {
  const text = labels.in(stdout).trim();
  if (/^(in|from) /.test(name)) return { status, answer: text };
  let json: unknown;
  try {
    json = text === "" ? undefined : JSON.parse(text);
  } catch {
    return { answer: "not exactly one JSON document" };
  }
  if (status === 0) return { answer: json ?? "success" };
  return { answer: `error ${(json as { code?: unknown } | undefined)?.code ?? "without a code"}` };
}
