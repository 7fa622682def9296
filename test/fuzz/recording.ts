/**
 * Notes what a kernel answers to a plugin, at the door where the test plays it back (`System.openNetlink`): no tracer is
 * needed, and a recording has the shape of the playback. Runs in QuickJS.
 */
import { runPlugin } from "../../pkg/cni/loop.ts";
import type { Delegates, Plugin } from "../../pkg/cni/plugin.ts";
import { NETLINK_ROUTE } from "../../pkg/netlink/message.ts";
import { FakeSystem } from "../../pkg/sys/fake.ts";
import type { System } from "../../pkg/sys/system.ts";

/** By kind of socket: for each datagram that was sent, the datagrams that were received before the next one was. */
export type Turns = Record<string, (readonly number[])[][]>;

/** The variable that names the file into which `runRecorded` writes the call's `Turns`, as JSON. */
export const RECORDING_FILE = "WEFT_RECORDING";

/** What sockets are told apart by in a recording: "route host", "route pod" or "netfilter host". */
export function socketKind(protocol: number, isPod: boolean): string {
  return `${protocol === NETLINK_ROUTE ? "route" : "netfilter"} ${isPod ? "pod" : "host"}`;
}

/**
 * Notes from here on what comes through the sockets of `system`, which is changed for it. Its random bytes become the
 * fake's, so that the names and hardware addresses that the kernel answers with are those that the playback asks for.
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

/** As `runPlugin`; what the kernel answered goes into the file that `RECORDING_FILE` names. */
export function runRecorded(plugin: Plugin, system: System, delegates: Delegates): number {
  const turns = recordNetlink(system);
  const status = runPlugin(plugin, system, delegates);
  system.writeFile(system.environment[RECORDING_FILE] ?? "", new TextEncoder().encode(JSON.stringify(turns)));
  return status;
}
