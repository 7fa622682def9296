/** Words that CONTRIBUTING.md's section on style rules out, and where a file has them. Pure. */

export interface Finding {
  readonly line: number;
  readonly word: string;
  readonly instead: string;
}

/** Each with the advice for the writer. Patterns are words that are never needed, not words that may be misused. */
const WORDS: readonly (readonly [pattern: RegExp, instead: string])[] = [
  [/\b(?:some|no|every)body(?:'s)?\b/gi, "name the actor: weftd, the kernel, another program, the peer"],
  [/\bwho(?:so)?ever\b/gi, "name the actor: weftd, the kernel, another program, the peer"],
  [/\bstrangers?\b(?:'s?)?/gi, 'write "another program" or "an unknown device"'],
  [/\b(?:anew|for ever|in vain)\b/gi, 'write "again", "permanently", "without success"'],
  [
    /\b(?:is|are|was|were|be|been) (?:told|forgiven)\b/gi,
    'write who reports what: "weftd logs ...", "the caller passes ..."',
  ],
  [/\bundefined where\b/gi, 'a condition is "if"'],
  [/(?<=^|[.!?] )(?:Of|Whose) [a-z]/g, "begin with the subject"],
];

/**
 * The comments of a TypeScript or C file, line by line; other lines are empty. Of Markdown, every line that is no code.
 */
export function proseLines(path: string, text: string): string[] {
  return path.endsWith(".md") ? markdownLines(text) : commentLines(text);
}

function commentLines(text: string): string[] {
  let isInside = false;
  return text.split("\n").map((line) => {
    const start = line.trimStart();
    const opens = start.startsWith("/*");
    const isComment = isInside || opens || start.startsWith("//");
    if (opens || isInside) isInside = !line.includes("*/");
    if (!isComment) return "";
    return start.replace(/^(?:\/\*+|\*\/|\*|\/\/)\s?/, "").replace(/\s*\*\/.*$/, "");
  });
}

function markdownLines(text: string): string[] {
  let isCode = false;
  return text.split("\n").map((line) => {
    const isFence = line.trimStart().startsWith("```");
    if (isFence) isCode = !isCode;
    return isFence || isCode ? "" : line;
  });
}

/** Text in backquotes or quotation marks is quoted: words of programs, and examples of what not to write. */
export function findWords(lines: readonly string[]): Finding[] {
  return lines.flatMap((raw, at) => {
    const line = raw.replace(/`[^`]*`|"[^"]*"/g, (quoted) => "x".repeat(quoted.length));
    return WORDS.flatMap(([pattern, instead]) =>
      [...line.matchAll(pattern)].map(([word]) => ({ line: at + 1, word, instead })),
    );
  });
}
