/**
 * Parses the destination argument: IP, IP:PORT or IP:PORT/PROTOCOL. An IPv6 address with a port is in brackets. Pure.
 */
import { type Address, AddressError, parseAddress } from "../../pkg/ip/address.ts";
import { IPPROTO } from "../../pkg/packet-walk/packet.ts";
import { CommandError, ExitStatus } from "../outcome.ts";

export const PROTOCOLS = ["tcp", "udp", "sctp", "icmp"] as const;
export type ProtocolName = (typeof PROTOCOLS)[number];

export interface Destination {
  readonly address: Address;
  readonly port: number | undefined;
  readonly protocol: ProtocolName | undefined;
}

const FORM =
  /^(?:\[(?<bracketed>[^\]]*)\]|(?<plain>[^:[\]/]*)|(?<bare>[^[\]/]*:[^[\]/]*:[^[\]/]*))(?::(?<port>\d+))?(?:\/(?<protocol>\w+))?$/;

/** The protocol of a port is TCP by default. Throws `CommandError` (wrong command line). */
export function parseDestination(text: string): Destination {
  const { bracketed, plain, bare, port: portText, protocol: name } = FORM.exec(text)?.groups ?? {};
  const host = bracketed ?? plain ?? bare;
  if (host === undefined) throw usage(`${text}: expected IP, IP:PORT or IP:PORT/PROTOCOL, such as 10.96.0.1:443/tcp`);
  const port = portText === undefined ? undefined : Number(portText);
  if (port !== undefined && (port < 1 || port > 65_535)) throw usage(`${text}: the port must be between 1 and 65535`);
  const protocol = PROTOCOLS.find((known) => known === name?.toLowerCase());
  if (name !== undefined && protocol === undefined)
    throw usage(`${text}: ${name} is not one of ${PROTOCOLS.join(", ")}`);
  return { address: readAddress(host, text), port, protocol: protocol ?? (port === undefined ? undefined : "tcp") };
}

/** Parses an address. `what` names the argument in the error. Throws `CommandError` (wrong command line). */
export function readAddress(words: string, what: string): Address {
  try {
    return parseAddress(words);
  } catch (error) {
    if (error instanceof AddressError) throw usage(`${what}: ${error.message}`);
    throw error;
  }
}

/** Returns the protocol number of the IP header (IANA, Protocol Numbers). */
export function protocolNumber(name: ProtocolName | undefined, { family }: Address): number | undefined {
  if (name === "icmp") return family === 4 ? IPPROTO.icmp : IPPROTO.icmpv6;
  return name === undefined ? undefined : IPPROTO[name];
}

function usage(message: string): CommandError {
  return new CommandError(message, { status: ExitStatus.usage });
}
