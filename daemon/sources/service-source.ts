/**
 * The source of Services, their EndpointSlices and the ServiceCIDRs: stores of a Kubernetes API server
 * (`pkg/cluster/store.ts`), or the nodes file. Both have objects by key, with indexes and subscriptions.
 */
import type { EndpointSlice } from "../../pkg/cluster/service/endpoint-slice.ts";
import type { Service } from "../../pkg/cluster/service/service.ts";
import type { ServiceCIDR } from "../../pkg/cluster/service/service-cidr.ts";
import type { Store } from "../../pkg/cluster/store.ts";

/**
 * The part of a store that readers use. Keys are "namespace/name", or the name alone for objects without a namespace.
 */
export type ObjectSource<T> = Pick<
  Store<T>,
  "get" | "list" | "size" | "hasSynced" | "status" | "addIndex" | "subscribe"
>;

export interface ServiceSource {
  readonly services: ObjectSource<Service>;
  /** All slices of a Service count together; index them by `EndpointSlice.service`. */
  readonly slices: ObjectSource<EndpointSlice>;
  /** `absent`, and synced, if the API server does not have this resource (before Kubernetes 1.33). */
  readonly cidrs: ObjectSource<ServiceCIDR>;
  /** Starts listing. Must be called once, after all subscriptions. */
  start(): void;
  /** Resolves when no listener will be called any more. */
  stop(): Promise<void>;
}
