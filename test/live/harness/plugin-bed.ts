/** One node and one pod in new namespaces, in which tests call single executables directly. */
import { resolve } from "node:path";
import { Cleanup } from "./cleanup.ts";
import { makeFolder } from "./folder.ts";
import { Inside } from "./inside.ts";
import { makeNamespace, type Namespace } from "./namespace.ts";
import { eventually } from "./process.ts";

export const OURS = resolve("dist/bin");
export const REFERENCE = resolve(".cache/reference-plugins/bin");

export interface Answer {
  readonly status: number;
  /** The decoded standard output; undefined if it is empty. */
  // biome-ignore lint/suspicious/noExplicitAny: results and errors of every version, which tests pick apart
  readonly json: any;
  readonly output: string;
}

export interface CallOptions {
  readonly containerId?: string;
  readonly netns?: string;
  readonly ifName?: string;
  readonly args?: string;
  /** Replaces the variables above. */
  readonly env?: Readonly<Record<string, string>>;
}

let beds = 0;

export class PluginBed {
  readonly node: Inside;
  readonly pod: Inside;
  readonly podNamespace: Namespace;
  readonly stateDir: string;
  readonly #cleanup: Cleanup;

  private constructor(node: Inside, pod: Inside, podNamespace: Namespace, stateDir: string, cleanup: Cleanup) {
    this.node = node;
    this.pod = pod;
    this.podNamespace = podNamespace;
    this.stateDir = stateDir;
    this.#cleanup = cleanup;
  }

  static async make(): Promise<PluginBed> {
    const cleanup = new Cleanup();
    const number = ++beds;
    const stateDir = makeFolder("bed", cleanup);
    const enter = async (label: string, ownStateDir?: string) => {
      const namespace = await makeNamespace(`bed${number}-${label}`, cleanup);
      return { namespace, inside: await Inside.enter(namespace, cleanup, ownStateDir) };
    };
    // Hundreds of tests begin so: both at the same time.
    const [node, pod] = await Promise.all([enter("node", stateDir), enter("pod")]);
    return new PluginBed(node.inside, pod.inside, pod.namespace, stateDir, cleanup);
  }

  close(): Promise<void> {
    return this.#cleanup.run();
  }

  /** Another pod on the same node. */
  async anotherPod(label: string): Promise<{ readonly namespace: Namespace; readonly inside: Inside }> {
    const namespace = await makeNamespace(`bed${beds}-${label}`, this.#cleanup);
    return { namespace, inside: await Inside.enter(namespace, this.#cleanup) };
  }

  /** Makes many pod namespaces, without an agent inside. */
  async emptyPods(count: number): Promise<Namespace[]> {
    const namespaces: Namespace[] = [];
    for (let at = 1; at <= count; at++) namespaces.push(await makeNamespace(`bed${beds}-many${at}`, this.#cleanup));
    return namespaces;
  }

  /** Calls an executable of `bin` on the node. Text `input` is passed unchanged. */
  async call(bin: string, plugin: string, verb: string, input: unknown, options: CallOptions = {}): Promise<Answer> {
    const { containerId = "c1", netns = this.podNamespace.path, ifName = "eth0", args = "" } = options;
    const env = options.env ?? {
      ...{ CNI_COMMAND: verb, CNI_CONTAINERID: containerId, CNI_NETNS: netns, CNI_IFNAME: ifName },
      ...{ CNI_PATH: bin, CNI_ARGS: args, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    };
    const text = typeof input === "string" ? input : JSON.stringify(input);
    const { status, stdout } = await this.node.run(`${bin}/${plugin}`, [], text, { ...env });
    return { status, output: stdout, json: stdout.trim() === "" ? undefined : JSON.parse(stdout) };
  }

  /** The state of the node and the pod that a failed call must not change. */
  async state(): Promise<unknown> {
    // New IPv6 addresses are in duplicate address detection, and the kernel changes their flags when it ends.
    for (const inside of [this.node, this.pod]) {
      await eventually(async () => {
        const probed = await inside.succeed("ip", ["address", "show", "tentative"]);
        if (probed !== "") throw new Error(`addresses are being probed for duplicates:\n${probed}`);
      });
    }
    const links = async (inside: Inside) =>
      withoutTimers(await inside.json<object[]>("ip", ["-j", "-d", "link", "show"]));
    const addresses = (inside: Inside) => inside.json<object[]>("ip", ["-j", "address", "show"]);
    const routes = (inside: Inside) => inside.json<object[]>("ip", ["-j", "route", "show", "table", "all"]);
    return {
      node: [
        await links(this.node),
        await addresses(this.node),
        await routes(this.node),
        await this.node.succeed("nft", ["list", "ruleset"]),
      ],
      pod: [await links(this.pod), await addresses(this.pod), await routes(this.pod)],
      reservations: await this.reservations(),
    };
  }

  /** Names of all reservation files of the node, with their contents. */
  async reservations(): Promise<string> {
    return this.node
      .succeed("sh", ["-c", "cd /var/lib/cni && find . -name '[0-9a-f]*[.:]*' -type f | sort | xargs -r grep -H ."])
      .catch(() => "");
  }
}

/** Removes the remaining times of a bridge's timers from its description. */
function withoutTimers(links: readonly object[]): unknown {
  return JSON.parse(JSON.stringify(links, (key, value) => (key.endsWith("_timer") ? undefined : value)));
}
