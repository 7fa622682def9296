import { sweepLeftovers } from "./leftovers.ts";

/** Runs before all live tests: ends daemons that a killed test run left behind. */
export default function setup(): Promise<void> {
  return sweepLeftovers();
}
