/** The parsed form of a ServiceCIDR (networking.k8s.io/v1), and its parser. */
import type { Prefix } from "../../ip/prefix.ts";
import type { ResourceParser } from "../parser.ts";
import { objectOf, parseEach } from "./field.ts";
import { parseSloppyPrefix } from "./sloppy.ts";

export interface ServiceCIDR {
  readonly cidrs: readonly Prefix[];
  /** Errors in fields of the object, as text. Undefined if there are none. */
  readonly problems?: readonly string[];
}

export const SERVICE_CIDR_PARSER: ResourceParser<ServiceCIDR> = {
  resource: {
    group: "networking.k8s.io",
    version: "v1",
    plural: "servicecidrs",
    kind: "ServiceCIDR",
    isNamespaced: false,
  },
  parse(object) {
    const problems: string[] = [];
    const cidrs = parseEach(objectOf(object.spec).cidrs, "spec.cidrs", problems, parseSloppyPrefix);
    return { cidrs, ...(problems.length > 0 && { problems }) };
  },
};
