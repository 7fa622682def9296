/**
 * Deletes flows that a change of Services has made stale (pkg/services/conntrack). It runs after the change is
 * programmed and does not delay the next change: it uses a separate socket and runs at most one pass a second.
 */
import type { Clock } from "../../../pkg/cluster/clock.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import { Programmed } from "../../../pkg/services/conntrack/programmed.ts";
import { type FrontendPlace, type Review, Reviews } from "../../../pkg/services/conntrack/review.ts";
import { searchesFor } from "../../../pkg/services/conntrack/search.ts";
import { frontendKey } from "../../../pkg/services/frontend.ts";
import { Attempts } from "../../core/attempts.ts";
import type { Runnable } from "../../core/controller.ts";
import type { FlowCleaner } from "../../core/drivers/flow-cleaner.ts";
import type { Logger } from "../../core/log.ts";
import { type Fact, Topic } from "../../core/topic.ts";
import type { ConntrackSweep, ProgrammedServices } from "../facts.ts";

/** Changes of one moment share a pass, and packets that matched the old rules are tracked by then. */
const SETTLING_MS = 10;

/** The time from the beginning of a pass to the beginning of the next. */
const PACE_MS = 1000;

export interface ServiceConntrackParts {
  readonly clock: Pick<Clock, "nowMs">;
  readonly log: Logger;
  readonly cleaner: Pick<FlowCleaner, "clean">;
  /** Frontends that an earlier weftd has programmed. */
  readonly held?: readonly FrontendPlace[];
  readonly committed: Fact<ProgrammedServices>;
  readonly sweep: Pick<Fact<ConntrackSweep>, "publish">;
}

export function serviceConntrackController(parts: ServiceConntrackParts): Runnable {
  const { clock, log, cleaner, committed, sweep } = parts;
  let { held = [] } = parts;
  const reviews = new Reviews();
  const programmed = new Programmed();
  const due = new Topic("stale flows");
  let beganMs = Number.NEGATIVE_INFINITY;
  const unsubscribe = committed.subscribe(() => {
    const said = committed.value;
    if (said === undefined) return;
    const { changes, hasWritten } = said;
    const frontends = () => said.frontends();
    const isUnknown = changes === undefined && (hasWritten || programmed.isUnknown);
    reviews.add(programmed.follow(changes, frontends));
    // While a rule was missing in the kernel, flows may have been tracked without it.
    if (isUnknown) reviews.addAll(frontends());
    reviews.addRemoved(held.filter((place) => !programmed.has(frontendKey(place))));
    held = [];
    if (!reviews.isEmpty) due.notify({ delayMs: Math.max(SETTLING_MS, beganMs + PACE_MS - clock.nowMs()) });
  });

  const clean = async (family: Family, due: readonly Review[]) => {
    const startMs = clock.nowMs();
    let deleted = 0;
    try {
      for (const search of searchesFor(family, due)) deleted += await cleaner.clean(search);
    } finally {
      sweep.publish({ family, durationMs: clock.nowMs() - startMs, deleted });
      if (deleted > 0) log.info({ family, deleted, frontends: due.length }, "deleted stale flows of Services");
    }
    for (const review of due) reviews.done(review);
  };

  return {
    name: "service-conntrack",
    subscriptions: { topics: [due] },
    retry: { pauseMs: () => PACE_MS },
    run: async () => {
      beganMs = clock.nowMs();
      const attempts = new Attempts();
      for (const family of [4, 6] as const) {
        const ofFamily = reviews.list().filter(({ address }) => address.family === family);
        if (ofFamily.length > 0) await attempts.try(() => clean(family, ofFamily));
      }
      attempts.end();
    },
    stop: unsubscribe,
  };
}
