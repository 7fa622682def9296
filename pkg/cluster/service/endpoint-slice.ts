/** What is kept of an EndpointSlice (discovery.k8s.io/v1), and its parser. */
import type { Address, Family } from "../../ip/address.ts";
import type { Protocol } from "./service.ts";

export interface EndpointSlice {
  /** "namespace/name" of the Service, by the label `kubernetes.io/service-name`. */
  readonly service: string;
  readonly family: Family;
  readonly ports: readonly SlicePort[];
  readonly endpoints: readonly SliceEndpoint[];
  /** Annotation `endpoints.kubernetes.io/last-change-trigger-time`, in milliseconds since 1970; undefined: none. */
  readonly triggeredMs: number | undefined;
}

export interface SlicePort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
}

export interface SliceEndpoint {
  /** The first address; others do not count. */
  readonly address: Address;
  readonly isReady: boolean;
  readonly isServing: boolean;
  readonly isTerminating: boolean;
  /** Undefined counts as another node. */
  readonly nodeName: string | undefined;
  /** `hints.forNodes`, `hints.forZones`; undefined where the endpoint has no such hint. */
  readonly nodeHints: readonly string[] | undefined;
  readonly zoneHints: readonly string[] | undefined;
  /** "namespace/name" of the pod, for reports; undefined where `targetRef` names none. */
  readonly pod: string | undefined;
}
