/** Queries a running weftd on this node by HTTP/1.1 (RFC 9112). */
import { addressToBytes, parseAddress } from "../../pkg/ip/address.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import { CommandError, ExitStatus } from "../outcome.ts";

export type Readiness =
  | {
      readonly is: "answered";
      readonly isReady: boolean;
      /** Conditions that are not met, each as "name: reason". */
      readonly missing: readonly string[];
      /** Problems that do not make the node unready, each as "topic: reason". */
      readonly warnings: readonly string[];
    }
  | { readonly is: "silent"; readonly reason: string };

/** Larger than any answer of weftd. A cluster may have thirty thousand Services. */
const LARGEST_ANSWER = 1 << 28;

/** Queries /readyz of weftd at `address` (host:port; the host is an address or "localhost"). */
export function askReadiness(system: System, address: string, timeoutMs: number): Readiness {
  try {
    const { status, statusLine, body } = askWeftd(system, address, "/readyz", timeoutMs);
    const linesOf = (mark: string) =>
      body.split("\n").flatMap((line) => (line.startsWith(mark) ? [line.slice(mark.length)] : []));
    if (status !== 200 && status !== 503) return { is: "silent", reason: `it answered ${statusLine}` };
    return { is: "answered", isReady: status === 200, missing: linesOf("[-] "), warnings: linesOf("[!] ") };
  } catch (error) {
    if (isSystemError(error)) return { is: "silent", reason: error.message };
    throw error;
  }
}

export interface WeftdAnswer {
  readonly status: number;
  /** "HTTP/1.1 200 OK" */
  readonly statusLine: string;
  readonly body: string;
}

/**
 * Requests `path` from weftd at `address` (as in `askReadiness`). Throws `SystemError` if no answer arrives in time.
 */
export function askWeftd(system: System, address: string, path: string, timeoutMs: number): WeftdAnswer {
  const { host, port } = parseHostPort(address);
  const answer = get(system, host, port, path, timeoutMs);
  const [statusLine = ""] = answer.split("\r\n", 1);
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1]);
  return { status, statusLine, body: answer.slice(answer.indexOf("\r\n\r\n") + 4) };
}

/** Throws `CommandError` (wrong command line). */
export function parseHostPort(text: string): { readonly host: Uint8Array; readonly port: number } {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? (match?.[2] || "127.0.0.1");
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65_535)
    throw new CommandError(`--metrics-address ${text}: expected an address and a port, such as 127.0.0.1:9468`, {
      status: ExitStatus.usage,
    });
  return { host: addressToBytes(parseAddress(host === "localhost" ? "127.0.0.1" : host)), port };
}

function get(system: System, host: Uint8Array, port: number, path: string, timeoutMs: number): string {
  const stream = system.connectTcp(host, port, timeoutMs);
  try {
    stream.send(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\nHost: weftd\r\nConnection: close\r\n\r\n`));
    const parts: Uint8Array[] = [];
    for (let length = 0; length < LARGEST_ANSWER; ) {
      const part = stream.receive(timeoutMs);
      if (part.length === 0) break;
      parts.push(part);
      length += part.length;
    }
    return new TextDecoder().decode(joined(parts));
  } finally {
    stream.close();
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
