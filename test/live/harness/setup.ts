import { sweepLeftovers } from "./leftovers.ts";

/** Before all live tests: a killed run's daemons would otherwise go on beside them. */
export default function setup(): Promise<void> {
  return sweepLeftovers();
}
