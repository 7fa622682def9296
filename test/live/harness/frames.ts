/** Ethernet frames for tests that forge packets: builders, and a program that sends and captures them (frames.c). */
import { addressToBytes, parseAddress } from "../../../pkg/ip/address.ts";
import { parseMac } from "../../../pkg/ip/mac.ts";
import type { Cleanup } from "./cleanup.ts";
import { compiled } from "./compiled.ts";
import type { Inside } from "./inside.ts";

export const BROADCAST = "ff:ff:ff:ff:ff:ff";
/** The hardware address of ff02::1. */
export const ALL_NODES_MAC = "33:33:00:00:00:01";

/** The longest capture. */
const LIMIT_MS = 20_000;

const number16 = (value: number) => Uint8Array.of(value >> 8, value & 0xff);
const ip = (text: string) => addressToBytes(parseAddress(text));
const text = (words: string) => new TextEncoder().encode(words);
const join = (...parts: readonly Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));

/** The Internet checksum (RFC 1071). */
function checksum(bytes: Uint8Array): Uint8Array {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return number16(~sum & 0xffff);
}

const ETHER_TYPES = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;

export interface Between {
  readonly from: string;
  readonly to: string;
}

/** An Ethernet frame. `tag` is the protocol of a VLAN tag and its VLAN. */
export function frame(
  { from, to }: Between,
  type: keyof typeof ETHER_TYPES | number,
  payload: Uint8Array,
  tag?: readonly [protocol: number, vlan: number],
): Uint8Array {
  const etherType = number16(typeof type === "number" ? type : ETHER_TYPES[type]);
  const tags = tag === undefined ? new Uint8Array() : join(number16(tag[0]), number16(tag[1]));
  return join(parseMac(to), parseMac(from), tags, etherType, payload);
}

export interface ArpPacket {
  readonly operation: "request" | "reply";
  readonly mac: string;
  readonly address: string;
  readonly target: string;
}

/** An ARP packet; `words` follow as padding. */
export function arp({ operation, mac, address, target }: ArpPacket, words: string): Uint8Array {
  const header = Uint8Array.of(0, 1, 8, 0, 6, 4, 0, operation === "request" ? 1 : 2);
  return join(header, parseMac(mac), ip(address), new Uint8Array(6), ip(target), text(words));
}

const UDP = 17;
const ICMPV6 = 58;
const DESTINATION_OPTIONS = 60;

/** An IPv4 packet with a UDP datagram that contains `words`. */
export function udp4(
  { from, to }: Between,
  words: string,
  ports: readonly [number, number] = [5000, 5000],
): Uint8Array {
  const datagram = join(number16(ports[0]), number16(ports[1]), number16(8 + words.length), number16(0), text(words));
  const header = (sum: Uint8Array) =>
    join(
      Uint8Array.of(0x45, 0),
      number16(20 + datagram.length),
      Uint8Array.of(0, 0, 0, 0, 64, UDP),
      sum,
      ip(from),
      ip(to),
    );
  return join(header(checksum(header(number16(0)))), datagram);
}

function ipv6(between: Between, protocol: number, payload: Uint8Array, hopLimit: number): Uint8Array {
  const { from, to } = between;
  const fields = join(Uint8Array.of(0x60, 0, 0, 0), number16(payload.length), Uint8Array.of(protocol, hopLimit));
  return join(fields, ip(from), ip(to), payload);
}

/** The payload with its checksum, which is at `offset`. */
function summed({ from, to }: Between, protocol: number, payload: Uint8Array, offset: number): Uint8Array {
  const pseudo = join(
    ip(from),
    ip(to),
    number16(0),
    number16(payload.length),
    Uint8Array.of(0, 0, 0, protocol),
    payload,
  );
  const whole = payload.slice();
  whole.set(checksum(pseudo), offset);
  return whole;
}

/** An IPv6 packet with a UDP datagram that contains `words`. */
export function udp6(between: Between, words: string): Uint8Array {
  const datagram = join(number16(5000), number16(5000), number16(8 + words.length), number16(0), text(words));
  return ipv6(between, UDP, summed(between, UDP, datagram, 6), 64);
}

export interface Discovery {
  readonly type: number;
  /** The bytes of the message from the fifth to the target. */
  readonly flags?: readonly [number, number, number, number];
  readonly target?: string;
  /** The option with a hardware address: 1 for the source's, 2 for the target's. */
  readonly option?: readonly [type: 1 | 2, mac: string];
  readonly hopLimit?: number;
  /** True if destination options precede the message. */
  readonly isBehindOptions?: boolean;
}

/** A message of neighbour discovery (RFC 4861). An option of an unknown type contains `words`. */
export function discovery(between: Between, { type, target, option, ...rest }: Discovery, words: string): Uint8Array {
  const { flags = [0, 0, 0, 0], hopLimit = 255, isBehindOptions = false } = rest;
  const units = Math.ceil((words.length + 2) / 8);
  const message = join(
    Uint8Array.of(type, 0, 0, 0, ...flags),
    target === undefined ? new Uint8Array() : ip(target),
    option === undefined ? new Uint8Array() : join(Uint8Array.of(option[0], 1), parseMac(option[1])),
    Uint8Array.of(253, units),
    text(words.padEnd(units * 8 - 2)),
  );
  const payload = summed(between, ICMPV6, message, 2);
  if (!isBehindOptions) return ipv6(between, ICMPV6, payload, hopLimit);
  // PadN with four bytes.
  const options = Uint8Array.of(ICMPV6, 0, 1, 4, 0, 0, 0, 0);
  return ipv6(between, DESTINATION_OPTIONS, join(options, payload), hopLimit);
}

/** A place where frames are captured: a namespace and an interface. */
export interface Place {
  readonly inside: Inside;
  readonly interface: string;
}

export class Frames {
  readonly #program: string;

  private constructor(program: string) {
    this.#program = program;
  }

  static async make(cleanup: Cleanup): Promise<Frames> {
    return new Frames(await compiled(new URL("frames.c", import.meta.url), cleanup));
  }

  async send({ inside, interface: name }: Place, frames: readonly Uint8Array[]): Promise<void> {
    await inside.succeed(this.#program, ["send", name, ...frames.map((each) => Buffer.from(each).toString("hex"))]);
  }

  /**
   * Returns all words that the frames received at `places` contain, while `work` runs. Each word begins with a letter of
   * `alphabet` and ends with ";". `start` is sent by `sender` until all places have received it, and `end` at the end, so
   * that no frame between them can be missed.
   */
  async captured(
    sender: Place,
    { start, end }: { readonly start: Uint8Array; readonly end: Uint8Array },
    places: readonly Place[],
    work: () => Promise<void>,
  ): Promise<readonly string[][]> {
    let isCaptured = false;
    const captures = Promise.all(
      places.map(({ inside, interface: name }) =>
        inside.run(this.#program, ["capture", name, "honest-end;", String(LIMIT_MS)]),
      ),
    ).finally(() => {
      isCaptured = true;
    });
    // The captures have begun once a frame sent later arrives. A capture that begins late lacks this word.
    for (let attempt = 0; attempt < 5; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      await this.send(sender, [start]);
    }
    await work();
    while (!isCaptured) {
      await this.send(sender, [end]);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return (await captures).map(({ stdout }) => {
      const lines = stdout.split("\n").slice(1);
      return lines.flatMap(
        (line) =>
          Buffer.from(line, "hex")
            .toString("latin1")
            .match(/(?:honest|forged)-[\w -]+;/g) ?? [],
      );
    });
  }
}
