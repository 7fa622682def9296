/**
 * Makes forward chains of iptables-legacy that drop pods' packets accept them. Checks periodically, if its tables are
 * in use.
 */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import { LEGACY_FORWARD_COMMENT } from "../../../pkg/footprint.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import { formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import { type Execute, isTableInUse, LEGACY_PROGRAM, runLegacy } from "../../core/legacy-tables.ts";

const INTERVAL_MS = 30_000;
/** A legacy chain may drop pods' packets, and weftd cannot read it. The message names the remedy. */
export class LegacyForwardError extends Error {
  /** `cause` is the reason for which the program failed. Without it, the program does not exist. */
  constructor(family: Family, ranges: readonly Prefix[], cause?: Error) {
    const program = LEGACY_PROGRAM[family];
    const commands = ranges.flatMap((range) => missing("", range)).map((rule) => [program, ...rule].join(" "));
    const inUse = `${program}'s table filter is in use on this node and may drop pods' packets`;
    super(
      cause === undefined
        ? `${inUse}, but ${program} is not available here to check: install it, or on the host run ${commands.join(" && ")}, or remove those rules`
        : `${inUse}, but cannot be read from here: ${cause.message.replaceAll("\n", " ")}; in a container weftd needs NET_RAW and the ` +
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

  /**
   * Inserts rules that accept pods' `ranges` into a dropping chain. Returns the commands that were run. Throws
   * `LegacyForwardError`.
   */
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

/**
 * True if the chain's policy, or a rule without conditions, drops packets. `shown` is the output of `iptables -S
 * FORWARD`.
 */
export function drops(shown: string): boolean {
  return shown
    .split("\n")
    .some((line) => /^-P FORWARD DROP$/.test(line) || /^-A FORWARD -j (DROP|REJECT)\b/.test(line));
}

/** Returns, as arguments, the rules for `range` that are not in `shown`. */
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
