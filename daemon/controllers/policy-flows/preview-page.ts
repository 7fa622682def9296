/** GET /debug/policy-preview: present flows that policies would deny if they began now. */
import { type Address, formatAddress } from "../../../pkg/ip/address.ts";
import { ipProtocolName } from "../../../pkg/ip/protocol-name.ts";
import type { Flow } from "../../../pkg/kernel/flow.ts";
import type { SideJudgement } from "../../../pkg/policy/judgement.ts";
import { type DeniedFlows, FlowGroups, previewFlows } from "../../../pkg/policy/preview.ts";
import type { PolicyState, ProgrammedPolicies } from "../facts.ts";

/** Flows that differ only in their source port. Addresses and port are those after translation. */
export interface PageFlow {
  /** "TCP", or the number of a protocol without a name. */
  readonly protocol: string;
  readonly from: string;
  /** "namespace/name" */
  readonly fromPod?: string;
  readonly to: string;
  readonly toPod?: string;
  readonly port: number;
  readonly flows: number;
  readonly deniedBy: PageSide;
}

type PageSide = Omit<SideJudgement, "verdict" | "tier"> & {
  readonly verdict: "deny";
  readonly tier?: NonNullable<SideJudgement["tier"]>;
};

/** command/node/policies-page.ts reads it. */
export interface PreviewPage {
  readonly mode: PolicyState["mode"];
  /** The number of all tracked flows. */
  readonly flows: number;
  readonly denied: readonly PageFlow[];
}

export interface PreviewParts {
  mode(): PolicyState["mode"];
  /** Undefined until policies are programmed, and while they are off. */
  programmed(): Pick<ProgrammedPolicies, "judge"> | undefined;
  /** Returns this node's addresses. */
  ownAddresses(): Promise<readonly Address[]>;
  /** Calls `look` with each tracked flow. The event loop serves other work meanwhile. */
  eachFlow(look: (flow: Flow) => void): Promise<void>;
}

/** The number of groups in a piece of the page: about two milliseconds. */
const PIECE = 200;

/** Yields a `PreviewPage` as JSON, in pieces of some milliseconds of work. */
export async function* previewPage({ mode, programmed, ownAddresses, eachFlow }: PreviewParts): AsyncGenerator<string> {
  const policies = programmed();
  const groups = new FlowGroups();
  let denied: readonly DeniedFlows[] = [];
  if (policies !== undefined) {
    const own = await ownAddresses();
    await eachFlow((flow) => groups.add(flow));
    const judging = previewFlows(groups.list(), (question) => policies.judge(question), own);
    let next = judging.next();
    for (; !next.done; next = judging.next()) yield "";
    denied = next.value;
  }
  const head: Omit<PreviewPage, "denied"> = { mode: mode(), flows: groups.flows };
  yield `${JSON.stringify(head).slice(0, -1)},"denied":[`;
  for (let at = 0; at < denied.length; at += PIECE) {
    const texts = denied.slice(at, at + PIECE).map((one) => `\n${JSON.stringify(pageFlow(one))}`);
    yield `${at === 0 ? "" : ","}${texts.join(",")}`;
  }
  yield "]}\n";
}

function pageFlow({ question, flows, judgement, deniedBy }: DeniedFlows): PageFlow {
  const { from, to, protocol, port } = question;
  const { egress, ingress } = judgement;
  return {
    protocol: ipProtocolName(protocol),
    from: formatAddress(from),
    ...(egress !== undefined && { fromPod: egress.pod }),
    to: formatAddress(to),
    ...(ingress !== undefined && { toPod: ingress.pod }),
    ...{ port, flows, deniedBy: pageSide(deniedBy) },
  };
}

function pageSide({ direction, pod, isAudited, tier, policies, isByRule }: SideJudgement): PageSide {
  return { direction, pod, verdict: "deny", isAudited, ...(tier !== undefined && { tier }), policies, isByRule };
}
