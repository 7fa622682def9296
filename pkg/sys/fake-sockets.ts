/** The sockets of `FakeSystem`: scripts answer what the code under test sends. */
import { SystemError } from "./errors.ts";
import type { NetlinkSocket, StreamSocket } from "./system.ts";

const EBADF = 9;
const ETIMEDOUT = 110;

/** The peer of a netlink socket; `namespace` is the identity of the socket's namespace. */
export interface NetlinkPeer {
  readonly protocol: number;
  readonly namespace: string;
}

/** A scripted kernel: returns the datagrams that answer a sent one. */
export type NetlinkScript = (datagram: Uint8Array, peer: NetlinkPeer) => readonly Uint8Array[];

/** A conversation with a scripted server: returns the answers to sent data; an empty answer ends it. */
export type StreamScript = (data: Uint8Array) => readonly Uint8Array[];

/**
 * Returns a stream. If no answer waits, `receive` fails after its timeout, by which `elapse` advances the clock. `close`
 * is called once.
 */
export function scriptedStream(
  path: string,
  script: { readonly answer: StreamScript; readonly elapse: (ms: number) => void; readonly close: () => void },
): StreamSocket {
  const queue = new AnswerQueue(path, script.close);
  return {
    send: (data) => {
      queue.assertOpen("send");
      queue.waiting.push(...script.answer(data.slice()));
    },
    receive: (timeoutMs) => {
      queue.assertOpen("receive");
      const next = queue.waiting.shift();
      if (next !== undefined) return next;
      script.elapse(timeoutMs);
      throw new SystemError("receive", "a Unix socket", ETIMEDOUT);
    },
    close: () => queue.close(),
  };
}

/** Returns a netlink socket whose `receive` fails at once if no answer waits. `close` is called once. */
export function scriptedNetlink(
  answer: (datagram: Uint8Array) => readonly Uint8Array[],
  close: () => void,
): NetlinkSocket {
  const queue = new AnswerQueue("netlink socket", close);
  return {
    send: (datagram) => {
      queue.assertOpen("sendto");
      queue.waiting.push(...answer(datagram.slice()));
    },
    receive: () => {
      queue.assertOpen("recvmsg");
      const next = queue.waiting.shift();
      if (next === undefined) throw new SystemError("recvmsg", "netlink socket", ETIMEDOUT);
      return next;
    },
    close: () => queue.close(),
  };
}

/** The answers that the code under test has not received yet, until it closes the socket. */
class AnswerQueue {
  readonly waiting: Uint8Array[] = [];
  readonly #name: string;
  readonly #onClose: () => void;
  #isOpen = true;

  constructor(name: string, onClose: () => void) {
    this.#name = name;
    this.#onClose = onClose;
  }

  assertOpen(call: string): void {
    if (!this.#isOpen) throw new SystemError(call, this.#name, EBADF);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#onClose();
  }
}
