/**
 * Where Services, their EndpointSlices and the ServiceCIDRs come from: stores of a Kubernetes API server
 * (`pkg/cluster/store.ts`), or the nodes file. Both hold objects by key, with indexes and subscriptions.
 */
import type { EndpointSlice } from "../../pkg/cluster/service/endpoint-slice.ts";
import type { Service } from "../../pkg/cluster/service/service.ts";
import type { ServiceCIDR } from "../../pkg/cluster/service/service-cidr.ts";
import type { Store } from "../../pkg/cluster/store.ts";

/** The part of a store that readers use. Keys are "namespace/name", or the name alone where objects have no namespace. */
export type ObjectSource<T> = Pick<
  Store<T>,
  "get" | "list" | "size" | "hasSynced" | "status" | "addIndex" | "subscribe"
>;

export interface ServiceSource {
  readonly services: ObjectSource<Service>;
  /** All slices of a Service count together: index them by `EndpointSlice.service`. */
  readonly slices: ObjectSource<EndpointSlice>;
  /** `absent`, and synced, where the API server has no such resource (before Kubernetes 1.33). */
  readonly cidrs: ObjectSource<ServiceCIDR>;
  /** Begins to list. Called once, after the subscriptions. */
  start(): void;
  /** No listener is called once this has resolved. */
  stop(): Promise<void>;
}
