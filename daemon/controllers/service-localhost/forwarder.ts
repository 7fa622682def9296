/** What listens on one port of ::1 and hands what comes on to a Service. */
import type { Forward } from "../../../pkg/services/localhost/forwards.ts";
import type { Quota } from "./quota.ts";

export interface Forwarder {
  /** Connections that begin from now on go there; those that are there stay. Of UDP each next datagram goes there. */
  redirect(to: Forward["to"]): void;
  /** Ends all connections. Resolves when the port is free. */
  close(): Promise<void>;
}

export interface ForwarderOptions {
  readonly to: Forward["to"];
  readonly port: number;
  /** Of all forwarders together: connections, or clients of UDP. */
  readonly quota: Quota;
  /** The listening socket is of no use any more. Its port is free. */
  readonly onBroken: (error: Error) => void;
}

/** Rejects where the port cannot be had (EADDRINUSE, or EADDRNOTAVAIL on a node without IPv6). */
export type OpenForwarder = (options: ForwarderOptions) => Promise<Forwarder>;

export const LOCALHOST = "::1";
