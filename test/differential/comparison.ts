/** Compares two stories, and finds the intended differences. */

/** The observations after each step, by the step's label: "1 ADD", "2 in node". */
export type Story = Readonly<Record<string, unknown>>;

/** A place in a story, its parts joined by "/", and the values on both sides. */
export interface Finding {
  readonly at: string;
  readonly ours: unknown;
  readonly theirs: unknown;
  /** True if weft rejected this step's call. */
  readonly refused?: boolean;
}

/** An intended difference. */
export interface Difference {
  /** Plugins and cases by name; all if omitted. */
  readonly plugin?: string | readonly string[];
  readonly case?: string | RegExp;
  /** Must match the finding's place, as in `Finding.at`. */
  readonly at: RegExp;
  /** If given, the values must equal these; a pattern is matched with the value as JSON. */
  readonly ours?: unknown;
  readonly theirs?: unknown;
  /** If given, applies only to steps whose call weft rejected, or did not reject. */
  readonly refused?: boolean;
  /** The reason for the difference, in a sentence for an operator. */
  readonly reason: string;
}

/** The differences of two stories. A difference that stays from one step to the next is reported once. */
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

/** Every place that differs. If one side lacks a whole branch, the branch. */
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

/** Also for lists: the key of an element is its index. */
function entriesOf(value: object): Map<string, unknown> {
  return new Map(Object.entries(value));
}
