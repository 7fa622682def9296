/** Labels as clients wrote them, kept with one copy of each text. */
import { intern } from "../service/field.ts";

export type Labels = Readonly<Record<string, string>>;

export const NO_LABELS: Labels = {};

export function readLabels(labels: Readonly<Record<string, unknown>>): Labels {
  const read: Record<string, string> = {};
  for (const [key, value] of Object.entries(labels)) if (typeof value === "string") read[intern(key)] = intern(value);
  return read;
}
