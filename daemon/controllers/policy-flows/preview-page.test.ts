import { expect, test } from "vitest";
import type { PreviewPage as ReadPage } from "../../../command/node/policies-page.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { Flow } from "../../../pkg/kernel/flow.ts";
import { flowMessage, type MadeFlow } from "../../../pkg/kernel/flow-message.ts";
import type { Judgement, Question, SideJudgement } from "../../../pkg/policy/judgement.ts";
import { joinInTurns } from "../../core/debug-json.ts";
import { type PreviewPage, type PreviewParts, previewPage } from "./preview-page.ts";

const [NODE, POD, PEER] = ["10.0.0.1", "10.244.1.2", "10.244.1.3"].map(parseAddress) as [never, never, never];

const ingress = (verdict: "allow" | "deny"): SideJudgement => ({
  ...{ direction: "ingress", pod: "b/server", verdict, isAudited: false, tier: "NetworkPolicy" },
  ...{ policies: ["b/isolate"], isByRule: false },
});
const denying80 = ({ port }: Question): Judgement => ({
  egress: { ...ingress("allow"), direction: "egress", pod: "a/client", tier: undefined, policies: [] },
  ingress: ingress(port === 80 ? "deny" : "allow"),
});

function parts(flows: readonly MadeFlow[], judge: PreviewParts["programmed"] | undefined): PreviewParts {
  return {
    mode: () => "audit",
    programmed: judge ?? (() => ({ judge: denying80 })),
    ownAddresses: async () => [NODE],
    eachFlow: async (look) => {
      for (const made of flows) {
        const flow = Flow.read(flowMessage(made));
        if (flow !== undefined) look(flow);
      }
    },
  };
}

/** The page as the command reads it. */
async function page(flows: readonly MadeFlow[], judge?: PreviewParts["programmed"]): Promise<ReadPage> {
  const made: PreviewPage = JSON.parse(await joinInTurns(previewPage(parts(flows, judge))));
  return made;
}

test("lists exactly the flows that enforcement would deny", async () => {
  const flows = [
    { from: PEER, to: POD, fromPort: 1 },
    { from: PEER, to: POD, fromPort: 2 },
    { from: PEER, to: POD, port: 443 },
    { from: NODE, to: POD },
    { from: PEER, to: POD, protocol: 17 },
  ];
  const flow = { from: "10.244.1.3", fromPod: "a/client", to: "10.244.1.2", toPod: "b/server", port: 80 };
  const deniedBy = {
    ...{ direction: "ingress", pod: "b/server", verdict: "deny", isAudited: false, tier: "NetworkPolicy" },
    ...{ policies: ["b/isolate"], isByRule: false },
  };
  expect(await page(flows)).toEqual({
    ...{ mode: "audit", flows: 5 },
    denied: [
      { ...flow, protocol: "TCP", flows: 2, deniedBy },
      { ...flow, protocol: "UDP", flows: 1, deniedBy },
    ],
  });
});

test("is empty without flows, and until policies are programmed", async () => {
  expect(await page([])).toEqual({ mode: "audit", flows: 0, denied: [] });
  expect(await page([{ from: PEER, to: POD }], () => undefined)).toEqual({ mode: "audit", flows: 0, denied: [] });
});

test("100,000 flows are judged and written in small pieces, so that the event loop is not blocked", async () => {
  const { payload } = flowMessage({ from: parseAddress("10.245.0.0"), to: POD });
  const sourceAt = payload.findIndex((_, at) => payload[at] === 10 && payload[at + 1] === 245);
  const eachFlow = async (look: (flow: Flow) => void) => {
    for (let at = 0; at < 100_000; at++) {
      const bytes = payload.slice();
      bytes.set([245 + (at >> 16), (at >> 8) & 255, at & 255], sourceAt + 1);
      const flow = Flow.read({ type: 0, flags: 0, sequence: 0, portId: 0, payload: bytes });
      if (flow !== undefined) look(flow);
    }
  };
  let judged = 0;
  const judge = (question: Question) => {
    judged++;
    return denying80(question);
  };
  const programmed = () => ({ judge });
  const pieces: string[] = [];
  const judgedIn: number[] = [];
  for await (const piece of previewPage({ ...parts([], programmed), eachFlow })) {
    pieces.push(piece);
    judgedIn.push(judged);
    judged = 0;
  }
  expect(JSON.parse(pieces.join(""))).toMatchObject({ flows: 100_000, denied: { length: 100_000 } });
  expect(Math.max(...judgedIn)).toBe(500);
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(100_000);
});
