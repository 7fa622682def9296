/** Tests ServiceMap with random sequences of events: its state equals that of a new map with the same objects. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../test/fuzz/samples.ts";
import { nodeFacts } from "../../test/services/core-bed.ts";
import { applyEvent, arbitraryEvents, type ServiceEvent } from "../../test/services/random-events.ts";
import { type Frontend, frontendKey } from "./frontend.ts";
import { ServiceMap } from "./service-map.ts";

const byKey = (frontends: Iterable<Frontend>) => {
  return [...frontends].sort((a, b) => (frontendKey(a) < frontendKey(b) ? -1 : 1));
};

/** The state of `map`, in an order that does not depend on the events. */
const stateOf = (map: ServiceMap) => ({
  frontends: byKey(map.frontends()),
  counts: map.counts(),
  healthChecks: map.healthChecks().toSorted((a, b) => (a.service < b.service ? -1 : 1)),
  lost: map
    .lostClaims()
    .map(({ frontend, winner }) => `${frontendKey(frontend)} ${frontend.service} to ${winner.service} ${winner.kind}`)
    .sort(),
  reports: map
    .services()
    .sort()
    .map((key) => map.report(key)),
});

/** A map with the last event of each kind only, in the given order. */
function freshMap(events: readonly ServiceEvent[], isBackwards: boolean): ServiceMap {
  const last = new Map<string, ServiceEvent>();
  for (const event of events) last.set(event.kind === "node" ? "node" : `${event.kind} ${event.key}`, event);
  const map = new ServiceMap();
  map.setNode(nodeFacts());
  for (const event of isBackwards ? [...last.values()].reverse() : last.values()) applyEvent(map, event);
  return map;
}

test("after each event the map equals a new one, in either order, and its changes lead to that state", () => {
  fc.assert(
    fc.property(arbitraryEvents({ maxLength: 25 }), fc.func(fc.boolean()), (events, looksAfter) => {
      const map = new ServiceMap();
      map.setNode(nodeFacts());
      const model = new Map<string, Frontend>();
      for (const [index, event] of events.entries()) {
        applyEvent(map, event);
        if (!looksAfter(index) && index < events.length - 1) continue;
        for (const { before, after } of map.changes()) {
          const key = frontendKey((before ?? after) as Frontend);
          expect(model.get(key)).toEqual(before);
          expect(after).not.toEqual(before);
          if (after === undefined) model.delete(key);
          else model.set(key, after);
        }
        expect(byKey(model.values())).toEqual(byKey(map.frontends()));
        const state = stateOf(map);
        expect(state).toEqual(stateOf(freshMap(events.slice(0, index + 1), false)));
        expect(state).toEqual(stateOf(freshMap(events.slice(0, index + 1), true)));
      }
    }),
    { numRuns: runs(60, 3000) },
  );
});

test("frontends have different keys, and endpoints are sorted without duplicates", () => {
  fc.assert(
    fc.property(arbitraryEvents({ maxLength: 15 }), (events) => {
      const map = freshMap(events, false);
      const frontends = [...map.frontends()];
      expect(new Set(frontends.map(frontendKey)).size).toBe(frontends.length);
      for (const { address, endpoints, localEndpoints, withoutEndpoint, policy } of frontends) {
        for (const list of [endpoints, localEndpoints]) {
          expect(list).toEqual([...list].sort((a, b) => Number(a.address.value - b.address.value) || a.port - b.port));
          expect(new Set(list.map((one) => `${one.address.value} ${one.port}`)).size).toBe(list.length);
          expect(list.every((one) => one.address.family === address.family)).toBe(true);
        }
        const decisive = policy === "local" ? localEndpoints : endpoints;
        expect(withoutEndpoint === undefined).toBe(decisive.length > 0);
        if (withoutEndpoint === "reject") expect([endpoints, localEndpoints]).toEqual([[], []]);
      }
    }),
    { numRuns: runs(40, 2000) },
  );
});
