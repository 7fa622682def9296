/**
 * Sends datagrams to closed ports of peers. The answer "port unreachable" proves that the whole datagram arrived. Peers
 * with weft and with flannel answer.
 */
import { CLOSED_PORT } from "../../pkg/footprint.ts";
import { type Address, addressToBytes } from "../../pkg/ip/address.ts";
import type { System, UdpProbe, UdpProbeReply } from "../../pkg/sys/system.ts";

const ECONNREFUSED = 111;
const ETIMEDOUT = 110;
/** The number of probes in parallel. Each takes a descriptor, and the usual limit is 1,024. */
const AT_ONCE = 512;
/** Hosts send such an answer to a destination only once a second (icmp_ratelimit), so one of two probes is answered. */
const TRIES = 2;

export interface Question {
  readonly to: Address;
  readonly from: Address | undefined;
  /** The length of the UDP payload in bytes. [8] */
  readonly bytes?: number;
  readonly isWhole?: boolean;
}

export interface Answer {
  readonly isAnswered: boolean;
  /** The time until the answer. */
  readonly afterMs: number;
}

/** Sends all probes in parallel, and repeats those without an answer once. */
export function ask(system: System, questions: readonly Question[], timeoutMs: number): Answer[] {
  const answers: Answer[] = questions.map(() => ({ isAnswered: false, afterMs: 0 }));
  let open = questions.map((_, at) => at);
  for (let attempt = 1; attempt <= TRIES && open.length > 0; attempt++) {
    const silent: number[] = [];
    for (let start = 0; start < open.length; start += AT_ONCE) {
      const part = open.slice(start, start + AT_ONCE);
      const heard = system.probeUdp(
        part.map((at) => probeOf(questions[at] as Question)),
        timeoutMs,
      );
      part.forEach((at, place) => {
        const { errno, afterMs } = heard[place] as UdpProbeReply;
        if (errno === ECONNREFUSED) answers[at] = { isAnswered: true, afterMs };
        else if (errno === ETIMEDOUT) silent.push(at);
      });
    }
    open = silent;
  }
  return answers;
}

function probeOf({ to, from, bytes = 8, isWhole = false }: Question): UdpProbe {
  const source = from === undefined ? undefined : addressToBytes(from);
  return { to: addressToBytes(to), from: source, port: CLOSED_PORT, bytes, isWhole };
}
