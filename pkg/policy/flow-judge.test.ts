import { expect, test } from "vitest";
import { formatAddress, parseAddress } from "../ip/address.ts";
import { Flow } from "../kernel/flow.ts";
import { flowMessage, type MadeFlow } from "../kernel/flow-message.ts";
import { FlowJudge } from "./flow-judge.ts";
import type { Question } from "./judgement.ts";

const [NODE, POD, PEER, VIP] = ["10.0.0.1", "10.244.1.2", "10.244.1.3", "10.96.0.1"].map(parseAddress) as [
  ...[never, never, never, never],
];
const flow = (made: MadeFlow): Flow => {
  const read = Flow.read(flowMessage(made));
  if (read === undefined) throw new Error("no flow");
  return read;
};

function bench() {
  const questions: string[] = [];
  const judge = ({ from, to, protocol, port }: Question) => {
    questions.push(`${formatAddress(from)} ${formatAddress(to)} ${protocol} ${port}`);
    return port === 80 ? "denied" : undefined;
  };
  return { questions, judge: new FlowJudge(judge, [NODE]) };
}

test("asks about the source before and the destination after translation, once for all source ports", () => {
  const { questions, judge } = bench();
  for (const fromPort of [1, 2, 3])
    expect(judge.denial(flow({ from: PEER, original: VIP, to: POD, fromPort }))).toBe("denied");
  expect(judge.denial(flow({ from: PEER, to: POD, port: 81 }))).toBeUndefined();
  expect(judge.denial(flow({ from: PEER, to: POD, port: 81 }))).toBeUndefined();
  expect(questions).toEqual(["10.244.1.3 10.244.1.2 6 80", "10.244.1.3 10.244.1.2 6 81"]);
});

test("allows flows from the node, from a pod to itself, and flows that another flow announced", () => {
  const { questions, judge } = bench();
  expect(judge.denial(flow({ from: NODE, to: POD }))).toBeUndefined();
  expect(judge.denial(flow({ from: POD, original: VIP, to: POD }))).toBeUndefined();
  expect(judge.denial(flow({ from: PEER, to: POD, status: 1 }))).toBeUndefined();
  expect(questions).toEqual([]);
  // An answer must not depend on a flow of the same key that was announced.
  expect(judge.denial(flow({ from: PEER, to: POD }))).toBe("denied");
  expect(judge.denial(flow({ from: POD, to: NODE }))).toBe("denied");
});
