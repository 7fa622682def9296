/** One connection of a plugin to the policy socket: one line of request, and lines of replies. */
import type { Socket } from "node:net";
import type { AttachReply } from "../../../pkg/attachment/policy/protocol.ts";
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { LONGEST_REQUEST, type ParsedRequest, parseRequest, RequestError } from "./attach-request.ts";

export interface ConnectionListener {
  onRequest(request: ParsedRequest): void;
  onInvalid(error: RequestError): void;
  onClose(): void;
}

const LINE_FEED = 0x0a;

export class AttachConnection {
  /** Aborts when the plugin closes the connection. */
  readonly signal: AbortSignal;
  readonly #socket: Socket;
  readonly #listener: ConnectionListener;
  readonly #cancelLimit: () => void;
  readonly #received: Buffer[] = [];
  #length = 0;
  /** True as soon as the request is complete, or the connection was refused. */
  #isAnswering = false;

  /** Closes the connection if no complete request arrives within `limitMs`. */
  constructor(socket: Socket, clock: Clock, limitMs: number, listener: ConnectionListener) {
    this.#socket = socket;
    this.#listener = listener;
    const controller = new AbortController();
    this.signal = controller.signal;
    this.#cancelLimit = clock.setTimer(limitMs, () => socket.destroy());
    socket.on("data", (data) => this.#receive(data));
    // Writing to a plugin that has ended. `close` follows.
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#cancelLimit();
      controller.abort(new Error("the plugin closed the connection"));
      listener.onClose();
    });
  }

  send(reply: AttachReply): void {
    if (this.#socket.writable) this.#socket.write(`${JSON.stringify(reply)}\n`);
  }

  /** Sends the last reply and closes the connection. */
  end(reply: AttachReply): void {
    this.#isAnswering = true;
    this.#cancelLimit();
    this.send(reply);
    // The plugin has the whole reply in its socket; weftd does not wait for the plugin's end.
    this.#socket.destroySoon();
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(data: Buffer): void {
    // The plugin sends nothing after its request. Other bytes are not kept.
    if (this.#isAnswering) return;
    this.#received.push(data);
    this.#length += data.length;
    const isComplete = data.includes(LINE_FEED);
    if (!isComplete && this.#length <= LONGEST_REQUEST) return;
    this.#isAnswering = true;
    this.#cancelLimit();
    const all = Buffer.concat(this.#received);
    this.#received.length = 0;
    this.#read(all);
  }

  #read(all: Buffer): void {
    const end = all.indexOf(LINE_FEED);
    let request: ParsedRequest;
    try {
      if (end < 0 || end > LONGEST_REQUEST) throw new RequestError(`it is longer than ${LONGEST_REQUEST} bytes`);
      request = parseRequest(all.toString("utf8", 0, end));
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.#listener.onInvalid(error);
      return;
    }
    this.#listener.onRequest(request);
  }
}
