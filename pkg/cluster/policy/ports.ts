/** Reads port numbers of policies. */
import type { PortRange } from "./network-policy.ts";

const MAX_PORT = 65_535;
const isPort = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= MAX_PORT;

/** Returns undefined if the values are not ports in ascending order. */
export function readRange(first: unknown, last: unknown): PortRange | undefined {
  return isPort(first) && isPort(last) && first <= last ? { first, last } : undefined;
}
