/** Where two stories differ, and which of these differences are meant. */

/** What was seen after each step, by the step's label: "1 ADD", "2 in node". */
export type Story = Readonly<Record<string, unknown>>;

/** A place in a story, its parts joined by "/", and what stands there on either side. */
export interface Finding {
  readonly at: string;
  readonly ours: unknown;
  readonly theirs: unknown;
  /** Ours refused this step's call. */
  readonly refused?: boolean;
}

/** An intended difference. */
export interface Difference {
  /** Plugins and cases by name; every one where it is left out. */
  readonly plugin?: string | readonly string[];
  readonly case?: string | RegExp;
  /** Must match the place of the finding, as `Finding.at` has it. */
  readonly at: RegExp;
  /** Where given, the values must be these; a pattern is matched with the value as JSON. */
  readonly ours?: unknown;
  readonly theirs?: unknown;
  /** Where given, only steps whose call ours refused, or did not refuse. */
  readonly refused?: boolean;
  /** Why ours is meant to be otherwise, in a sentence for an operator. */
  readonly reason: string;
}

/** Where two stories differ; what stays different from one step to the next is told once. */
export function compareStories(ours: Story, theirs: Story): Finding[] {
  let known = new Set<string>();
  return Object.keys(ours).flatMap((step) => {
    const found = findDifferences(ours[step], theirs[step]).map((finding) => ({
      finding,
      key: JSON.stringify(finding),
    }));
    const fresh = found.filter(({ finding: { at }, key }) => !STATE.test(at) || !known.has(key));
    known = new Set(found.map(({ key }) => key));
    const refused = /^error /.test(String((ours[step] as { answer?: unknown }).answer));
    return fresh.map(({ finding }) => ({ ...finding, at: `${step}/${finding.at}`, refused }));
  });
}

const STATE = /^(node|pod|files)\//;

/** Every place that differs; where a whole branch is missing on one side, the branch. */
export function findDifferences(ours: unknown, theirs: unknown, at = ""): Finding[] {
  if (!isBranch(ours) || !isBranch(theirs)) {
    return JSON.stringify(ours) === JSON.stringify(theirs) ? [] : [{ at, ours, theirs }];
  }
  const [left, right] = [entriesOf(ours), entriesOf(theirs)];
  return [...new Set([...left.keys(), ...right.keys()])].flatMap((key) =>
    findDifferences(left.get(key), right.get(key), at === "" ? key : `${at}/${key}`),
  );
}

export function isMeant(row: Difference, plugin: string, caseName: string, finding: Finding): boolean {
  const { at, ours, theirs } = finding;
  return (
    (row.plugin === undefined || [row.plugin].flat().includes(plugin)) &&
    (row.case === undefined || (typeof row.case === "string" ? row.case === caseName : row.case.test(caseName))) &&
    row.at.test(at) &&
    (row.refused === undefined || row.refused === finding.refused) &&
    (!("ours" in row) || isValue(row.ours, ours)) &&
    (!("theirs" in row) || isValue(row.theirs, theirs))
  );
}

function isValue(meant: unknown, value: unknown): boolean {
  const text = JSON.stringify(value);
  return meant instanceof RegExp ? meant.test(text) : JSON.stringify(meant) === text;
}

export function describeFinding({ at, ours, theirs }: Finding): string {
  const text = (value: unknown) => (value === undefined ? "nothing" : JSON.stringify(value));
  return `${at}\n    ours:   ${text(ours)}\n    theirs: ${text(theirs)}`;
}

function isBranch(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Of lists, too: the place of an element is its index. */
function entriesOf(value: object): Map<string, unknown> {
  return new Map(Object.entries(value));
}
