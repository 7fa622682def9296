import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { addressToBytes, formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import type { Judgement, Question, SideJudgement } from "../../../pkg/policy/judgement.ts";
import type { Direction, Profile } from "../../../pkg/policy/state.ts";
import type { Logger } from "../../core/log.ts";
import { DenyLog } from "./deny-log.ts";

/** The first bytes of an IPv4 packet to port 80 of 10.244.1.3. */
function packet(protocol = 6, from = "10.244.1.2"): Uint8Array {
  const bytes = new Uint8Array(24);
  bytes[0] = 0x45;
  bytes[9] = protocol;
  bytes.set(addressToBytes(parseAddress(from)), 12);
  bytes.set(addressToBytes(parseAddress("10.244.1.3")), 16);
  bytes.set([0, 80], 22);
  return bytes;
}

const side = (direction: Direction, pod: string, more: Partial<SideJudgement> = {}): SideJudgement => ({
  ...{ direction, pod, verdict: "deny", isAudited: false, tier: "NetworkPolicy", policies: [`a/${direction}`] },
  isByRule: false,
  ...more,
});
const profile = (direction: Direction, isAudited = false): Profile => ({
  ...{ direction, isAudited, policies: ["a/of-the-profile"], ports: [], others: [] },
});

function bench(judgement: Judgement, profiles: Readonly<Record<number, Profile>> = {}, { isAudit = false } = {}) {
  const clock = new ManualClock();
  const lines: unknown[] = [];
  const questions: Question[] = [];
  const counts = { logged: 0, suppressed: 0, lost: 0 };
  const write = (fields: object, message: string) => lines.push({ ...fields, message });
  const denyLog = new DenyLog({
    ...{ clock, log: { info: write, warn: write } as unknown as Logger, isAudit: () => isAudit },
    programmed: () => ({
      judge: (question) => {
        questions.push(question);
        return judgement;
      },
      profile: (number) => profiles[number],
    }),
    count: (result) => {
      counts[result]++;
    },
  });
  return { clock, lines, questions, counts, denyLog };
}

test("a line has the pods, the policies that deny the packet, and the destination port", () => {
  const judgement = {
    egress: side("egress", "a/client", { verdict: "allow", tier: undefined, policies: [] }),
    ingress: side("ingress", "b/server"),
  };
  const { lines, questions, denyLog } = bench(judgement, { 12345: profile("ingress") });
  denyLog.onPacket({ prefix: "weft deny 12345", bytes: packet() });
  expect(lines).toEqual([
    {
      direction: "ingress",
      from: { address: "10.244.1.2", namespace: "a", pod: "client" },
      to: { address: "10.244.1.3", namespace: "b", pod: "server" },
      ...{ protocol: "TCP", port: 80, policies: ["a/ingress"], tier: "NetworkPolicy", audited: false },
      message: "policies denied a packet",
    },
  ]);
  const [question] = questions;
  expect(
    question && [formatAddress(question.from), formatAddress(question.to), question.protocol, question.port],
  ).toEqual(["10.244.1.2", "10.244.1.3", 6, 80]);
});

test("if both sides deny, the profile's number decides which one the line is about", () => {
  const judgement = { egress: side("egress", "a/client", { isAudited: true }), ingress: side("ingress", "b/server") };
  const { lines, denyLog } = bench(judgement, { 1: profile("egress", true), 2: profile("ingress") });
  denyLog.onPacket({ prefix: "weft deny 1", bytes: packet() });
  denyLog.onPacket({ prefix: "weft deny 2", bytes: packet() });
  expect(lines).toMatchObject([
    { direction: "egress", policies: ["a/egress"], audited: true, message: "policies would deny a packet" },
    { direction: "ingress", policies: ["a/ingress"], audited: false, message: "policies denied a packet" },
  ]);
});

test("an address outside the cluster has no pod, and ICMP no port", () => {
  const { lines, denyLog } = bench(
    { egress: undefined, ingress: side("ingress", "b/server") },
    { 2: profile("ingress") },
  );
  denyLog.onPacket({ prefix: "weft deny 2", bytes: packet(1, "192.0.2.1") });
  expect(lines).toMatchObject([{ from: { address: "192.0.2.1" }, protocol: "ICMP" }]);
  expect(lines[0]).not.toHaveProperty("port");
  expect(lines[0]).not.toHaveProperty("from.pod");
});

test("every packet is audited while the node only audits", () => {
  const judgement = { egress: undefined, ingress: side("ingress", "b/server") };
  const { lines, denyLog } = bench(judgement, { 2: profile("ingress") }, { isAudit: true });
  denyLog.onPacket({ prefix: "weft deny 2", bytes: packet() });
  expect(lines).toMatchObject([{ audited: true, message: "policies would deny a packet" }]);
});

test("if policies have changed since, the line has the profile's policies, or the direction of the judgement", () => {
  const allowed = {
    egress: undefined,
    ingress: side("ingress", "b/server", { verdict: "allow", policies: ["b/new"] }),
  };
  const { lines, denyLog } = bench(allowed, { 1: profile("ingress") });
  denyLog.onPacket({ prefix: "weft deny 1", bytes: packet() });
  denyLog.onPacket({ prefix: "weft deny 99", bytes: packet() });
  expect(lines).toMatchObject([
    { direction: "ingress", policies: ["a/of-the-profile"] },
    { direction: "ingress", policies: [] },
  ]);
  for (const line of lines) expect(line).not.toHaveProperty("tier");
  const denied = bench({ egress: side("egress", "a/client"), ingress: side("ingress", "b/server") });
  denied.denyLog.onPacket({ prefix: "weft deny 99", bytes: packet() });
  expect(denied.lines).toMatchObject([{ direction: "egress", policies: ["a/egress"] }]);
});

test("ignores packets that other programs' rules log to the group", () => {
  const { lines, counts, denyLog } = bench({ egress: undefined, ingress: undefined });
  for (const prefix of ["", "weft deny ", "weft deny 1 ", "firewall: "]) denyLog.onPacket({ prefix, bytes: packet() });
  expect([lines, counts]).toEqual([[], { logged: 0, suppressed: 0, lost: 0 }]);
});

test("writes at most 50 lines a second, and one line with the number of suppressed ones", () => {
  const { clock, lines, counts, denyLog, questions } = bench(
    { egress: undefined, ingress: side("ingress", "b/server") },
    { 2: profile("ingress") },
  );
  for (let at = 0; at < 1000; at++) denyLog.onPacket({ prefix: "weft deny 2", bytes: packet() });
  expect(lines).toHaveLength(50);
  // A flood must not cost a judgement for each packet.
  expect(questions).toHaveLength(50);
  clock.advance(1000);
  expect(lines).toHaveLength(51);
  expect(lines.at(-1)).toEqual({
    ...{ suppressed: 950, periodMs: 1000 },
    message: "packets denied by policies were not logged: too many",
  });
  denyLog.onLoss();
  expect(counts).toEqual({ logged: 50, suppressed: 950, lost: 1 });
});

test("counts a packet without an IP header as lost", () => {
  const { lines, counts, denyLog } = bench({ egress: undefined, ingress: undefined });
  denyLog.onPacket({ prefix: "weft deny 2", bytes: packet().subarray(0, 10) });
  expect([lines, counts.lost]).toEqual([[], 1]);
});
