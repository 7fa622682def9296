/** Names that the server generates from metadata.generateName. */
import type { JsonObject } from "./resource.ts";
import { badRequest } from "./status.ts";

/** kube-apiserver's letters for generated names: no vowels, so that names contain no words. */
const SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH = 5;

/** The name of a new object, given or generated. `newUid` is the source of randomness. Throws 400 without either. */
export function nameOfNew({ name, generateName }: JsonObject, newUid: () => string): string {
  if (typeof name === "string" && name !== "") return name;
  if (typeof generateName !== "string" || generateName === "") throw badRequest("name or generateName is required");
  const digits = [...newUid().replaceAll("-", "")].slice(0, SUFFIX_LENGTH);
  return generateName + digits.map((digit) => SUFFIX_LETTERS[Number.parseInt(digit, 16)]).join("");
}
