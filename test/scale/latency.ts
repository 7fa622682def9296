/**
 * The time from a change of one Node to the kernel's notification of the last entry that the change needs. The API
 * server notes when it writes the event to the watch, and `ip monitor`, which shares nothing with weftd, when the
 * kernel announces the entry.
 */
import type { ControlRequest, Sight } from "../apiserver/control.ts";
import { eventually, type Running } from "../live/harness/process.ts";

/** One change of a Node, and how its last entry appears in `ip -o monitor`. */
export interface NodeStep {
  readonly order: ControlRequest;
  readonly shown: RegExp;
}

export interface Latencies {
  /** A Node with all annotations is created: weftd reads it from the API server, and adds a route. */
  readonly add: readonly number[];
  /** The MAC of a Node's VTEP changes: weftd changes a neighbour and forwarding entries. */
  readonly change: readonly number[];
  /** A Node is deleted: weftd removes its route. */
  readonly remove: readonly number[];
}

/** Between two steps, so that a step does not begin before weftd has ended its work for the last one. */
const PAUSE_MS = 30;
const TIME = String.raw`^\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d+)\].*`;

/** Carries out the steps one after the other and returns the latency of each in milliseconds. */
export async function timeSteps(
  steps: Iterable<NodeStep>,
  send: (order: ControlRequest) => Promise<Sight>,
  monitor: Running,
): Promise<number[]> {
  const times: number[] = [];
  for (const { order, shown } of steps) {
    const from = monitor.output.length;
    const { writtenMs } = await send(order);
    const line = new RegExp(TIME + shown.source, "m");
    const [, second = "", micros = ""] = await eventually(() => {
      const found = line.exec(monitor.output.slice(from));
      if (found === null) throw new Error(`the kernel announced no ${shown}`);
      return found;
    }, 5000);
    times.push(new Date(second).getTime() + Number(micros) / 1000 - writtenMs);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return times;
}
