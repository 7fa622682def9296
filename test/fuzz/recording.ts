/**
 * Records a kernel's answers to a plugin at the interface where the test replays them (`System.openNetlink`): needs no
 * tracer, and a recording has the format of the replay. Runs in QuickJS.
 */
import { runPlugin } from "../../pkg/cni/loop.ts";
import type { Delegates, Plugin } from "../../pkg/cni/plugin.ts";
import { NETLINK_ROUTE } from "../../pkg/netlink/message.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import type { System } from "../../pkg/sys/system.ts";

/** By kind of socket: for each datagram sent, the datagrams received before the next one. */
export type Turns = Record<string, (readonly number[])[][]>;

/** The variable with the path of the file into which `runRecorded` writes the call's `Turns`, as JSON. */
export const RECORDING_FILE = "WEFT_RECORDING";

/** The key of a socket in a recording: "route host", "route pod" or "netfilter host". */
export function socketKind(protocol: number, isPod: boolean): string {
  return `${protocol === NETLINK_ROUTE ? "route" : "netfilter"} ${isPod ? "pod" : "host"}`;
}

/**
 * From now on records the datagrams received by the sockets of `system`, which it modifies. Random bytes become the
 * fake's, so that the names and hardware addresses in the kernel's answers are those that the replay expects.
 */
export function recordNetlink(system: System): Turns {
  const turns: Turns = {};
  const randomness = new FakeSystem();
  system.randomBytes = (length) => randomness.randomBytes(length);
  const openNetlink = system.openNetlink.bind(system);
  system.openNetlink = (protocol, namespace) => {
    const socket = openNetlink(protocol, namespace);
    const isPod = namespace !== undefined && namespace.path === system.environment.CNI_NETNS;
    const kind = socketKind(protocol, isPod);
    let turn: (readonly number[])[] = [];
    return {
      send(datagram) {
        socket.send(datagram);
        turn = [];
        turns[kind] ??= [];
        turns[kind].push(turn);
      },
      receive(timeoutMs) {
        const datagram = socket.receive(timeoutMs);
        turn.push([...datagram]);
        return datagram;
      },
      close: () => socket.close(),
    };
  };
  return turns;
}

/** Like `runPlugin`. Writes the kernel's answers into the file named by `RECORDING_FILE`. */
export function runRecorded(plugin: Plugin, system: System, delegates: Delegates): number {
  const turns = recordNetlink(system);
  const status = runPlugin(plugin, system, delegates);
  system.writeFile(system.environment[RECORDING_FILE] ?? "", new TextEncoder().encode(JSON.stringify(turns)));
  return status;
}
