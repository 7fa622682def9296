/** Listens on one port of ::1 and forwards to a Service. */
import type { Forward } from "../../../pkg/services/localhost/forwards.ts";
import type { Quota } from "./quota.ts";

export interface Forwarder {
  /**
   * Changes the target of new connections; existing ones stay. For UDP, changes the target of every further datagram.
   */
  redirect(to: Forward["to"]): void;
  /** Ends all connections. Resolves when the port is free. */
  close(): Promise<void>;
}

export interface ForwarderOptions {
  readonly to: Forward["to"];
  readonly port: number;
  /** The limit for all forwarders together: of connections, or of UDP clients. */
  readonly quota: Quota;
  /** Called if the listening socket is unusable. Its port is free then. */
  readonly onBroken: (error: Error) => void;
}

/** Rejects if the port cannot be opened (EADDRINUSE, or EADDRNOTAVAIL on a node without IPv6). */
export type OpenForwarder = (options: ForwarderOptions) => Promise<Forwarder>;

export const LOCALHOST = "::1";
