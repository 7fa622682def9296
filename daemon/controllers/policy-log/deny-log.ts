/** Turns packets that policies deny, which the kernel logs by `LOG_PREFIX`, into lines of weftd's log. */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { type Address, formatAddress } from "../../../pkg/ip/address.ts";
import { type PacketHeader, readPacketHeader } from "../../../pkg/ip/packet-header.ts";
import { ipProtocolName } from "../../../pkg/ip/protocol-name.ts";
import type { LoggedPacket } from "../../../pkg/kernel/packet-log.ts";
import type { Judgement, SideJudgement } from "../../../pkg/policy/judgement.ts";
import { LOG_PREFIX } from "../../../pkg/policy/program.ts";
import type { Direction, Profile } from "../../../pkg/policy/state.ts";
import type { Logger } from "../../core/log.ts";
import type { ProgrammedPolicies } from "../facts.ts";
import { LineLimit } from "./line-limit.ts";

/** The kernel limits each profile; this limits the node. */
const LINES = 50;
const PERIOD_MS = 1000;

/** An end of a denied connection. The pod is known if policies concern it in this direction. */
export interface LoggedEnd {
  readonly address: string;
  readonly namespace?: string;
  readonly pod?: string;
}

/** The fields of a line. */
export interface DeniedPacket {
  /** The direction, as seen from the pod whose policies deny the packet. */
  readonly direction: Direction;
  readonly from: LoggedEnd;
  readonly to: LoggedEnd;
  readonly protocol: string;
  /** Absent for protocols without ports. */
  readonly port?: number;
  /** "namespace/name", or "name" of a ClusterNetworkPolicy. */
  readonly policies: readonly string[];
  readonly tier?: string;
  /** True if the packet has passed nevertheless. */
  readonly audited: boolean;
}

export interface DenyLogParts {
  readonly clock: Pick<Clock, "nowMs" | "setTimer">;
  readonly log: Pick<Logger, "info" | "warn">;
  /** True if the node only audits policies. */
  isAudit(): boolean;
  /** Undefined until policies are programmed. */
  programmed(): Pick<ProgrammedPolicies, "judge" | "profile"> | undefined;
  /** Counts log entries of the kernel. */
  count(result: "logged" | "suppressed" | "lost"): void;
}

export class DenyLog {
  readonly #parts: DenyLogParts;
  readonly #limit: LineLimit;

  constructor(parts: DenyLogParts) {
    this.#parts = parts;
    const report = (suppressed: number) =>
      parts.log.warn({ suppressed, periodMs: PERIOD_MS }, "packets denied by policies were not logged: too many");
    this.#limit = new LineLimit({ clock: parts.clock, lines: LINES, periodMs: PERIOD_MS, report });
  }

  onPacket({ prefix, bytes }: LoggedPacket): void {
    const number = profileNumber(prefix);
    const programmed = this.#parts.programmed();
    if (number === undefined || programmed === undefined) return;
    const header = readPacketHeader(bytes);
    if (header === undefined) {
      this.#parts.count("lost");
      return;
    }
    const isLogged = this.#limit.take();
    this.#parts.count(isLogged ? "logged" : "suppressed");
    if (!isLogged) return;
    const judgement = programmed.judge(questionOf(header));
    const line = deniedPacket(header, programmed.profile(number), judgement, this.#parts.isAudit());
    this.#parts.log.info(line, line.audited ? "policies would deny a packet" : "policies denied a packet");
  }

  /** The kernel's log entries arrived faster than weftd read them, or cannot be read. */
  onLoss(): void {
    this.#parts.count("lost");
  }

  /** Reports what is not reported yet. */
  stop(): void {
    this.#limit.flush();
  }
}

/** Undefined if the packet was logged by another program's rule. */
function profileNumber(prefix: string): number | undefined {
  if (!prefix.startsWith(LOG_PREFIX)) return undefined;
  const text = prefix.slice(LOG_PREFIX.length);
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

const questionOf = ({ from, to, protocol, destinationPort = 0 }: PacketHeader) => ({
  ...{ from, to, protocol, port: destinationPort },
});

/**
 * `profile` is the profile that has denied the packet; undefined if policies have changed since. The judgement is then
 * that of the new policies, which may allow the packet.
 */
export function deniedPacket(
  { from, to, protocol, destinationPort }: PacketHeader,
  profile: Profile | undefined,
  judgement: Judgement,
  isAudit: boolean,
): DeniedPacket {
  const direction = profile?.direction ?? directionOf(judgement);
  const side = judgement[direction];
  const isDenied = side?.verdict === "deny";
  const policies = (isDenied ? side.policies : profile?.policies) ?? [];
  return {
    direction,
    from: endOf(from, judgement.egress),
    to: endOf(to, judgement.ingress),
    protocol: ipProtocolName(protocol),
    ...(destinationPort !== undefined && { port: destinationPort }),
    policies,
    ...(isDenied && side.tier !== undefined && { tier: side.tier }),
    audited: isAudit || (profile?.isAudited ?? side?.isAudited ?? false),
  };
}

/** The kernel judges the source first. */
function directionOf({ egress, ingress }: Judgement): Direction {
  if (egress?.verdict === "deny") return "egress";
  return ingress === undefined ? "egress" : "ingress";
}

function endOf(address: Address, side: SideJudgement | undefined): LoggedEnd {
  const [namespace = "", pod = ""] = side?.pod.split("/") ?? [];
  return { address: formatAddress(address), ...(side !== undefined && { namespace, pod }) };
}
