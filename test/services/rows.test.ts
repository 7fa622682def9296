/** The rows of test/vectors/services on the core: objects -> frontends -> the fate of a packet. */
import { describe, expect, it } from "vitest";
import { isSameAddress, parseAddress } from "../../pkg/ip/address.ts";
import { type Choice, outcomeOf } from "../../pkg/services/outcome.ts";
import { ServiceMap } from "../../pkg/services/service-map.ts";
import { allCases, type Case, endpointText, expectationOf, PROTOCOLS, type Row } from "./rows.ts";
import { fill, type State, stateOf } from "./state.ts";

const cases = allCases();

function outcomeIn(state: State, map: ServiceMap, { from, to, port, protocol }: Row) {
  const packet = { source: parseAddress(from), destination: parseAddress(to), protocol: PROTOCOLS[protocol], port };
  const isOwnAddress = (address: ReturnType<typeof parseAddress>) =>
    state.ownAddresses.some((own) => isSameAddress(own, address));
  const outcome = outcomeOf(packet, [...map.frontends()], { settings: state.settings, isOwnAddress });
  if (outcome.verdict !== "endpoints") return { expect: outcome.verdict, masqueraded: [] };
  const reached = outcome.choices.filter(({ obstacle }) => obstacle === undefined);
  const texts = (choices: readonly Choice[]) => choices.map(({ endpoint }) => endpointText(endpoint)).sort();
  return { expect: texts(reached), masqueraded: texts(reached.filter(({ masquerade }) => masquerade !== undefined)) };
}

function rowsOf(each: Case): void {
  const state = stateOf(each);
  const map = new ServiceMap();
  fill(map, state);
  it.each(each.rows.map((row) => [row.name, row] as const))("%s", (_, row) => {
    expect(outcomeIn(state, map, row)).toEqual(expectationOf(row));
  });
}

it("has every row of kube-proxy's packet tracer", () => {
  const theirs = cases.filter(({ isOurs, isMirrored }) => !isOurs && !isMirrored);
  expect(theirs.flatMap(({ rows }) => rows)).toHaveLength(207);
});

describe.each(cases.map((each) => [each.title, each] as const))("%s", (_, each) => rowsOf(each));
