/** What a store keeps of the objects of one resource: the contract of the parsers in node/, service/ and policy/. */
import { isDeepStrictEqual } from "node:util";
import type { Form, KubeObject, Resource } from "./resource.ts";

export interface ResourceParser<T> {
  readonly resource: Resource;
  /** "metadata" where `parse` reads nothing else. Default: "whole". */
  readonly form?: Form;
  /**
   * What is kept of an object; undefined: nothing, as if it did not exist. Pure. The value must not refer to the object
   * or to parts of it, which may be a hundred times larger. Clients write the fields: a parser must not throw on any
   * content, but record in its value what it could not read.
   */
  parse(object: KubeObject): T | undefined;
  /** True when a change from `a` to `b` can be ignored. Default: equality of structure (`isDeepStrictEqual`). */
  isSame?(a: T, b: T): boolean;
}

/** `isSame` of a parser, or its default. */
export function equalityOf<T>(parser: ResourceParser<T>): (a: T, b: T) => boolean {
  return (a, b) => parser.isSame?.(a, b) ?? isDeepStrictEqual(a, b);
}
