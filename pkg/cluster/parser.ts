/**
 * The contract of the parsers in node/, service/ and policy/, which decide what a store keeps of each object of a
 * resource.
 */
import { isDeepStrictEqual } from "node:util";
import type { Form, KubeObject, Resource } from "./resource.ts";

export interface ResourceParser<T> {
  readonly resource: Resource;
  /** "metadata" if `parse` reads nothing else. Default: "whole". */
  readonly form?: Form;
  /**
   * Returns the value to keep for an object. Undefined means that the object is treated as absent. Pure. The value must
   * not refer to the object or its parts, which may be a hundred times larger. Users write the fields: a parser must
   * not throw for any content, but must record in its value which fields are invalid.
   */
  parse(object: KubeObject): T | undefined;
  /** True if a change from `a` to `b` can be ignored. Default: structural equality (`isDeepStrictEqual`). */
  isSame?(a: T, b: T): boolean;
}

/** Returns `isSame` of a parser, or its default. */
export function equalityOf<T>(parser: ResourceParser<T>): (a: T, b: T) => boolean {
  return (a, b) => parser.isSame?.(a, b) ?? isDeepStrictEqual(a, b);
}
