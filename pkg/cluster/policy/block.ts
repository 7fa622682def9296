/** Reads address ranges of policies. */
import type { Prefix } from "../../ip/prefix.ts";
import { parseEach } from "../service/field.ts";
import { parseSloppyPrefix } from "../service/sloppy.ts";

/** Returns undefined if one of the ranges cannot be read, and records it in `problems`. */
export function parsePrefixes(value: unknown, field: string, problems: string[]): readonly Prefix[] | undefined {
  const count = problems.length;
  const prefixes = parseEach(value, field, problems, parseSloppyPrefix);
  return problems.length > count ? undefined : prefixes;
}
