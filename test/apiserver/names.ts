/** Names that the server makes from metadata.generateName. */
import type { JsonObject } from "./resource.ts";
import { badRequest } from "./status.ts";

/** kube-apiserver's, for names made from generateName: no vowels, so that no words come about. */
const SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH = 5;

/** The name of a new object, its own or a generated one. `newUid` is the source of chance. Throws 400 without either. */
export function nameOfNew({ name, generateName }: JsonObject, newUid: () => string): string {
  if (typeof name === "string" && name !== "") return name;
  if (typeof generateName !== "string" || generateName === "") throw badRequest("name or generateName is required");
  const digits = [...newUid().replaceAll("-", "")].slice(0, SUFFIX_LENGTH);
  return generateName + digits.map((digit) => SUFFIX_LETTERS[Number.parseInt(digit, 16)]).join("");
}
