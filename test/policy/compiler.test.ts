/**
 * Compares the compiler (pkg/policy) with the oracle: random objects, changed one by one. WEFT_POLICY_RUNS sets the number
 * of random clusters.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Address, parseAddress } from "../../pkg/ip/address.ts";
import { PolicyMap } from "../../pkg/policy/policy-map.ts";
import type { PolicyChange } from "../../pkg/policy/state.ts";
import { PolicyTables } from "../../pkg/policy/tables.ts";
import { isAllowedBySide, isAudited, opinionOf, type Question, type World } from "./oracle.ts";
import { Cluster, NODE, type Step, steps } from "./random-cluster.ts";

const RUNS = Number(process.env.WEFT_POLICY_RUNS ?? 100);
const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1 } as const;
const ADDRESSES = [1, 2, 3, 4, 5, 6, 7]
  .flatMap((n) => [`10.0.0.${n}`, `fd00::${n}`])
  .concat("192.0.2.200", "192.0.2.1", "2001:db8::1");
const PARSED = new Map<string, Address>(ADDRESSES.map((text) => [text, parseAddress(text)]));
const addressOf = (text: string) => PARSED.get(text) as Address;
const numberOf = ({ protocol }: Question) => PROTOCOLS[protocol as keyof typeof PROTOCOLS];
const PORTS = [79, 80, 81, 85, 443];
const SIDES = ["Egress", "Ingress"] as const;

const QUESTIONS: readonly Question[] = ADDRESSES.flatMap((from) =>
  ADDRESSES.filter((to) => from.includes(":") === to.includes(":") && from !== to).flatMap((to) =>
    Object.keys(PROTOCOLS).flatMap((protocol) => PORTS.map((port) => ({ from, to, protocol, port }))),
  ),
);

function isLocal(world: World, address: string): boolean {
  return world.pods.some(
    ({ spec, status }) =>
      spec.nodeName === NODE &&
      !spec.hostNetwork &&
      status.phase !== "Succeeded" &&
      status.podIPs.some(({ ip }: { ip: string }) => ip === address),
  );
}

function verdictOf(tables: PolicyTables, side: (typeof SIDES)[number], question: Question): "allow" | "deny" {
  const [from, to] = [addressOf(question.from), addressOf(question.to)];
  return side === "Egress"
    ? tables.verdict("egress", from, to, numberOf(question), question.port)
    : tables.verdict("ingress", to, from, numberOf(question), question.port);
}

/** The connections that this node judges. */
function* sidesOf(world: World): Generator<{ readonly side: (typeof SIDES)[number]; readonly question: Question }> {
  const local = new Set(ADDRESSES.filter((address) => isLocal(world, address)));
  for (const question of QUESTIONS) {
    for (const side of SIDES) if (local.has(side === "Egress" ? question.from : question.to)) yield { side, question };
  }
}

function checkTables(tables: PolicyTables, world: World): void {
  for (const { side, question } of sidesOf(world)) {
    const allowed = verdictOf(tables, side, question) === "allow";
    if (allowed !== isAllowedBySide(world, side, question)) {
      expect({ ...question, side, allowed }).toEqual({ ...question, side, allowed: !allowed });
    }
  }
}

function checkAudit(tables: PolicyTables, world: World): void {
  for (const [key, { ingress, egress }] of tables.subjects) {
    const address = ADDRESSES.find((text) => {
      const { family, value } = addressOf(text);
      return key === `${family} ${value}`;
    }) as string;
    for (const number of [ingress, egress]) {
      if (number === undefined) continue;
      expect(tables.profiles.get(number)?.isAudited, address).toBe(isAudited(world, address));
    }
  }
}

/** Every seventh question, because the judge and the oracle are slow. */
function checkJudge(map: PolicyMap, world: World): void {
  for (let at = world.pods.length % 7; at < QUESTIONS.length; at += 7) {
    const question = QUESTIONS[at] as Question;
    const { egress, ingress } = map.judge({
      ...{ from: addressOf(question.from), to: addressOf(question.to) },
      ...{ protocol: numberOf(question), port: question.port },
    });
    for (const [side, own] of [["Egress", egress] as const, ["Ingress", ingress] as const]) {
      const opinion = own && {
        allowed: own.verdict === "allow",
        ...(own.tier !== undefined && { tier: own.tier }),
        policies: own.policies,
        isByRule: own.isByRule,
      };
      expect(opinion, JSON.stringify({ ...question, side })).toEqual(opinionOf(world, side, question));
      const address = side === "Egress" ? question.from : question.to;
      if (own !== undefined) expect(own.isAudited).toBe(isAudited(world, address));
    }
  }
}

function apply(tables: PolicyTables, changes: readonly PolicyChange[]): void {
  for (const change of changes) tables.apply(change);
}

test("the tables and the judge agree with the specification after each change", { timeout: 3_600_000 }, () => {
  fc.assert(
    fc.property(steps, (all) => {
      const [cluster, map, tables] = [new Cluster(), new PolicyMap(NODE), new PolicyTables()];
      for (const [at, each] of all.entries()) {
        cluster.change(each);
        cluster.tell(map, each);
        apply(tables, map.changes());
        // Only some of the states: each has thousands of questions.
        if (!cluster.isSound || (at !== all.length - 1 && at % 5 !== 4)) continue;
        checkTables(tables, cluster.world);
        checkAudit(tables, cluster.world);
        checkJudge(map, cluster.world);
      }
    }),
    { numRuns: RUNS },
  );
});

describe("changes", () => {
  test("after each one, a connection is judged as if some of the objects had changed", { timeout: 3_600_000 }, () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 3 }), (all, size) => {
        const [cluster, map, tables] = [new Cluster(), new PolicyMap(NODE), new PolicyTables()];
        for (let at = 0; at < all.length; at += size) {
          const batch = all.slice(at, at + size);
          const worlds = worldsBetween(cluster, batch);
          const sides = [...sidesOf(cluster.world)]
            .filter((_, index) => index % 37 === at % 37)
            .filter(({ side, question: { from, to } }) =>
              worlds.every((world) => isLocal(world, side === "Egress" ? from : to)),
            );
          for (const each of batch) {
            cluster.change(each);
            cluster.tell(map, each);
          }
          for (const change of map.changes()) {
            tables.apply(change);
            for (const { side, question } of sides) {
              const allowed = verdictOf(tables, side, question) === "allow";
              if (worlds.length > 0 && worlds.every((world) => isAllowedBySide(world, side, question) !== allowed)) {
                expect.fail(`${side} ${JSON.stringify({ ...question, allowed, change }, text)}`);
              }
            }
          }
        }
      }),
      { numRuns: RUNS },
    );
  });

  test("the same objects in another order produce the same tables", () => {
    fc.assert(
      fc.property(steps, fc.infiniteStream(fc.nat()), (all, random) => {
        const cluster = new Cluster();
        const [map, tables] = [new PolicyMap(NODE), new PolicyTables()];
        for (const each of all) {
          cluster.change(each);
          cluster.tell(map, each);
          apply(tables, map.changes());
        }
        fc.pre(cluster.isSound);
        const [otherMap, other] = [new PolicyMap(NODE), new PolicyTables()];
        const places = new Map<string, number>();
        cluster.tellAll(otherMap, (key) => {
          const place = places.get(key) ?? (random.next().value as number);
          places.set(key, place);
          return place;
        });
        apply(other, otherMap.changes());
        for (const name of ["peers", "pods", "blocks", "profiles", "subjects"] as const) {
          expect(other[name], name).toEqual(tables[name]);
        }
        expect(otherMap.changes()).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  });

  test("nothing is left when all objects are gone", () => {
    fc.assert(
      fc.property(steps, (all) => {
        const [cluster, map, tables] = [new Cluster(), new PolicyMap(NODE), new PolicyTables()];
        const change = (each: Step) => {
          cluster.change(each);
          cluster.tell(map, each);
          apply(tables, map.changes());
        };
        for (const each of all) change(each);
        for (const each of all) {
          if (each.kind === "pod") change({ ...each, pod: undefined });
          else if (each.kind !== "namespace") change({ ...each, spec: undefined });
        }
        const { peers, pods, blocks, profiles, subjects } = tables;
        expect([peers, pods, blocks, profiles, subjects].map(({ size }) => size)).toEqual([0, 0, 0, 0, 0]);
        expect(map.counts()).toMatchObject({ policies: 0, clusterPolicies: 0, pods: 0, identities: 0, profiles: 0 });
      }),
    );
  });
});

const text = (_: string, value: unknown) =>
  typeof value === "bigint" ? String(value) : value instanceof Set ? [...value] : value;

/** The worlds in which some of the changes have happened. None if two pods share an address in one of them. */
function worldsBetween(before: Cluster, changes: readonly Step[]): World[] {
  const subsets = Array.from({ length: 2 ** changes.length }, (_, bits) =>
    changes.filter((_change, at) => (bits >> at) % 2 === 1),
  );
  const clusters = subsets.map((subset) => {
    const cluster = before.copy();
    for (const change of subset) cluster.change(change);
    return cluster;
  });
  return clusters.every(({ isSound }) => isSound) ? clusters.map(({ world }) => world) : [];
}
