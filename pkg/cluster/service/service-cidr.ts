/** What is kept of a ServiceCIDR (networking.k8s.io/v1), and its parser. */
import type { Prefix } from "../../ip/prefix.ts";

export interface ServiceCIDR {
  readonly cidrs: readonly Prefix[];
}
