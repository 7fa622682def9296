/** ADDs of a pod that weftd knows, with and without its policies in turn. */
import { Cleanup } from "../../live/harness/cleanup.ts";
import { makeFolder } from "../../live/harness/folder.ts";
import { OURS, PluginBed } from "../../live/harness/plugin-bed.ts";
import { NodeChild } from "./node-child.ts";
import { keyOf, type PopulationSize, populate } from "./population.ts";

/** In milliseconds, in order: one ADD of each kind is a round. */
export interface AddTimes {
  readonly without: readonly number[];
  /** Without policies, with an address that no pod has had. */
  readonly withoutFirst: readonly number[];
  /** With an address from which weftd has removed what an earlier pod left. */
  readonly reused: readonly number[];
  /** With an address that no pod has had since weftd's start. */
  readonly first: readonly number[];
}

const WARM_UP = 5;
/** One address of each family, or a range so large that no address is used twice. */
const ONE = [
  [{ subnet: "10.22.0.0/16", rangeStart: "10.22.9.9", rangeEnd: "10.22.9.9" }],
  [{ subnet: "fd00:22::/64", rangeStart: "fd00:22::9:9", rangeEnd: "fd00:22::9:9" }],
];
const MANY = [
  [{ subnet: "10.22.0.0/16", rangeEnd: "10.22.8.0" }],
  [{ subnet: "fd00:22::/64", rangeEnd: "fd00:22::8:0" }],
];

export async function timeAdds(size: PopulationSize, rounds: number): Promise<AddTimes> {
  const cleanup = new Cleanup();
  try {
    const bed = await PluginBed.make();
    cleanup.push(() => bed.close());
    const child = new NodeChild(`/proc/${bed.node.pid}/ns/net`, cleanup);
    await child.carryOut({ do: "cold", size });
    const socket = `${makeFolder("policy", cleanup)}/policy.sock`;
    await child.carryOut({ do: "serve", path: socket });
    const population = populate(size);
    const pod = population.pod(population.local[0] ?? 0);
    const [namespace, name] = keyOf(pod).split("/");
    const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name};K8S_POD_UID=${pod.metadata.uid}`;
    const once = async (kind: string, ranges: object, more: object): Promise<number> => {
      const configuration = {
        cniVersion: "1.1.0",
        name: kind,
        type: "bridge",
        // As in weftd's conflist.
        ...{ isDefaultGateway: true, guardSenders: true },
        ipam: { type: "host-local", ranges },
        ...more,
      };
      const env = {
        ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_NETNS: bed.podNamespace.path, CNI_IFNAME: "eth0" },
        ...{ CNI_PATH: OURS, CNI_ARGS: args, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
      };
      const { status, stdout, ms } = await bed.node.run(`${OURS}/bridge`, [], JSON.stringify(configuration), env);
      if (status !== 0) throw new Error(`ADD: ${stdout}`);
      const prevResult = JSON.parse(stdout);
      await bed.call(OURS, "bridge", "DEL", { ...configuration, prevResult }, { args });
      await child.carryOut({ do: "detach" });
      return ms;
    };
    const times = {
      ...{ without: [] as number[], withoutFirst: [] as number[] },
      ...{ reused: [] as number[], first: [] as number[] },
    };
    const networkPolicy = { socket, fail: "closed" };
    const kinds = [
      ["without", ONE, {}],
      ["withoutFirst", MANY, {}],
      ["reused", ONE, { networkPolicy }],
      ["first", MANY, { networkPolicy }],
    ] as const;
    for (let round = -WARM_UP; round < rounds; round++) {
      for (const [kind, ranges, more] of round % 2 === 0 ? kinds : kinds.toReversed()) {
        const ms = await once(kind, ranges, more);
        if (round >= 0) times[kind].push(ms);
      }
    }
    return times;
  } finally {
    await cleanup.run();
  }
}
