/** A profile: the instructions of each function in each context, as stepper.c writes them. */

/** `file` is the source file with its line; for a function of the host or of QuickJS, "C". */
export interface ProfiledFunction {
  readonly name: string;
  readonly file: string;
}

/** A function as it is called from one chain of callers. */
export interface Context {
  readonly function: ProfiledFunction;
  readonly calls: number;
  /** Instructions of the function itself, including those of QuickJS and the C library for it. */
  readonly own: number;
  /** Those of the functions that it calls in addition. */
  inclusive: number;
  readonly callees: Context[];
}

export interface Profile {
  readonly root: Context;
  /** Instructions by address, of the whole process. */
  readonly addresses: readonly (readonly [address: number, instructions: number])[];
}

/** The totals of a function over all contexts. */
export interface Total {
  readonly function: ProfiledFunction;
  calls: number;
  own: number;
  /** A recursive call counts once. */
  inclusive: number;
}

export interface Names {
  javascript(name: string, line: number, column: number): ProfiledFunction;
  native(address: number): ProfiledFunction;
}

export function parseProfile(text: string, names: Names): Profile {
  const functions: ProfiledFunction[] = [];
  const contexts: Context[] = [];
  const parents: number[] = [];
  const addresses: [number, number][] = [];
  const parsers: Readonly<Record<string, (words: readonly string[]) => void>> = {
    f([kind, name = "", line, column]) {
      if (kind === "js") functions.push(names.javascript(name, Number(line), Number(column)));
      else functions.push(kind === "c" ? names.native(Number(name)) : { name: "main", file: "C" });
    },
    n([parent, at, calls, own]) {
      const called = functions[Number(at)];
      if (called === undefined)
        throw new Error(`a context of function ${at}: expected at most ${functions.length - 1}`);
      parents.push(Number(parent));
      contexts.push({ function: called, calls: Number(calls), own: Number(own), inclusive: Number(own), callees: [] });
    },
    a([address, count]) {
      addresses.push([Number(address), Number(count)]);
    },
  };
  for (const line of text.split("\n")) {
    const [kind = "", ...words] = line.split(" ");
    parsers[kind]?.(words);
  }
  // A context's number is higher than its parent's.
  for (let at = contexts.length - 1; at > 0; at--) {
    const [context, parent] = [contexts[at], contexts[parents[at] ?? 0]];
    if (context === undefined || parent === undefined) continue;
    parent.inclusive += context.inclusive;
    parent.callees.push(context);
  }
  const [root] = contexts;
  if (root === undefined) throw new Error("the profile is empty");
  return { root, addresses };
}

/** Returns the totals of all functions, by the instructions of the functions themselves. */
export function totals({ root }: Profile): Total[] {
  const byFunction = new Map<ProfiledFunction, Total>();
  const active = new Set<ProfiledFunction>();
  const visit = (context: Context): void => {
    const { function: called, calls, own, inclusive } = context;
    const total = byFunction.get(called) ?? { function: called, calls: 0, own: 0, inclusive: 0 };
    byFunction.set(called, total);
    total.calls += calls;
    total.own += own;
    const isOutermost = !active.has(called);
    if (isOutermost) total.inclusive += inclusive;
    active.add(called);
    context.callees.forEach(visit);
    if (isOutermost) active.delete(called);
  };
  visit(root);
  return [...byFunction.values()].sort((one, other) => other.own - one.own);
}

/** Returns the totals of the C functions that contain the addresses: of QuickJS, the host and the C library. */
export function nativeTotals(
  { addresses }: Profile,
  nameOf: (address: number) => string,
): (readonly [name: string, instructions: number])[] {
  const byName = new Map<string, number>();
  for (const [address, count] of addresses) {
    const name = nameOf(address);
    byName.set(name, (byName.get(name) ?? 0) + count);
  }
  return [...byName].sort(([, one], [, other]) => other - one);
}
