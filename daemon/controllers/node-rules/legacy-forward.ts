/** Forward chains of iptables-legacy that drop pods' packets: looked at now and then, where its tables are in use. */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { LEGACY_FORWARD_COMMENT } from "../../../pkg/footprint.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import { formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import { type Execute, isTableInUse, LEGACY_PROGRAM, runLegacy } from "../../core/legacy-tables.ts";

const INTERVAL_MS = 30_000;
/** A legacy chain may drop pods' packets, and cannot be looked at from here; the message says what to do. */
export class LegacyForwardError extends Error {
  /** `cause`: why the program failed; without one there is no such program. */
  constructor(family: Family, ranges: readonly Prefix[], cause?: Error) {
    const program = LEGACY_PROGRAM[family];
    const commands = ranges.flatMap((range) => missing("", range)).map((rule) => [program, ...rule].join(" "));
    const inUse = `${program}'s table filter is in use on this node and may drop pods' packets`;
    super(
      cause === undefined
        ? `${inUse}, and there is no ${program} here to look: install it, or on the host run ${commands.join(" && ")}, or remove those rules`
        : `${inUse}, and cannot be looked at from here: ${cause.message.replaceAll("\n", " ")}; in a container weftd needs NET_RAW and the ` +
            "host's /run/xtables.lock for that: the chart's iptablesLegacy, or conf/components/iptables-legacy",
      { cause },
    );
    this.name = "LegacyForwardError";
  }
}

export interface LegacyForwardOptions {
  readonly files: Pick<Files, "readFile">;
  readonly execute: Execute;
  readonly clock: Pick<Clock, "nowMs">;
}

export class LegacyForward {
  readonly #options: LegacyForwardOptions;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(options: LegacyForwardOptions) {
    this.#options = options;
  }

  /** Has pods' `ranges` accepted where a chain drops; returns what was run. Throws `LegacyForwardError`. */
  async ensure(ranges: readonly Prefix[]): Promise<readonly string[]> {
    const nowMs = this.#options.clock.nowMs();
    if (nowMs - this.#lookedMs < INTERVAL_MS) return [];
    const done: string[] = [];
    for (const family of [4, 6] as const) {
      const own = ranges.filter(({ address }) => address.family === family);
      if (own.length > 0 && isTableInUse(this.#options.files, family, "filter"))
        done.push(...(await this.#accept(family, own)));
    }
    this.#lookedMs = nowMs;
    return done;
  }

  async #accept(family: Family, ranges: readonly Prefix[]): Promise<string[]> {
    const { execute } = this.#options;
    const shown = await runLegacy(execute, family, ["-S", "FORWARD"]).catch((error: Error) => {
      throw new LegacyForwardError(family, ranges, error);
    });
    if (shown === undefined) throw new LegacyForwardError(family, ranges);
    if (!drops(shown)) return [];
    const rules = ranges.flatMap((range) => missing(shown, range));
    for (const rule of rules) await runLegacy(execute, family, rule);
    return rules.map((rule) => [LEGACY_PROGRAM[family], ...rule].join(" "));
  }
}

/** True where the chain's policy, or a rule without conditions, drops. `shown` is what `iptables -S FORWARD` prints. */
export function drops(shown: string): boolean {
  return shown
    .split("\n")
    .some((line) => /^-P FORWARD DROP$/.test(line) || /^-A FORWARD -j (DROP|REJECT)\b/.test(line));
}

/** The rules for `range` that are not among those shown, as arguments. */
function missing(shown: string, range: Prefix): string[][] {
  const lines = shown.split("\n");
  return ["-s", "-d"]
    .map((side) => [side, formatPrefix(range)])
    .filter((match) => {
      const rule = `-A FORWARD ${match.join(" ")} -m comment --comment "${LEGACY_FORWARD_COMMENT}" -j ACCEPT`;
      return !lines.includes(rule);
    })
    .map((match) => ["-I", "FORWARD", ...match, "-m", "comment", "--comment", LEGACY_FORWARD_COMMENT, "-j", "ACCEPT"]);
}
