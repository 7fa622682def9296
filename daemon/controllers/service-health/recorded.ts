/** For tests: the answers of a kube-proxy 1.36 (test/vectors/kube-proxy/n1-health.txt). */
import { readFileSync } from "node:fs";

export interface RecordedAnswer {
  /** The request, such as "GET :10256/healthz". */
  readonly question: string;
  readonly status: number;
  /** The headers that do not depend on time and length. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const CHANGING = new Set(["Date", "Content-Length"]);

export function recordedAnswers(): RecordedAnswer[] {
  const text = readFileSync("test/vectors/kube-proxy/n1-health.txt", "utf8");
  return text
    .split(/^== /m)
    .slice(1)
    .map((part) => {
      const [question = "", statusLine = "", ...rest] = part.split(/\r?\n/);
      const end = rest.indexOf("");
      const headers = rest.slice(0, end).map((line) => line.split(": ", 2) as [string, string]);
      return {
        question,
        status: Number(statusLine.split(" ")[1]),
        headers: Object.fromEntries(headers.filter(([name]) => !CHANGING.has(name))),
        body: rest
          .slice(end + 1)
          .join("\n")
          .trimEnd(),
      };
    });
}
