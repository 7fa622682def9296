/** A search for tracked connections: a dump that the kernel limits, and an exact test of each of its messages. */
import type { Message } from "../netlink/message.ts";
import type { ConnectionSelector, ExactSelector } from "./connection-selector.ts";

export interface FlowSearch {
  readonly selector: ConnectionSelector;
  /** Set if the selector is exact, so that the kernel can delete the selected flows without dumping them. */
  readonly exact: ExactSelector | undefined;
  /** Checks all fields again, because kernels ignore the parts of a selector that they do not support. */
  matches(message: Message): boolean;
  /** Called after the flows were found, before they are deleted. If it rejects, they stay. */
  beforeDeletion?(): Promise<void>;
}
