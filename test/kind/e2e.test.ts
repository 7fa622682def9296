/** The failures that the end-to-end test detects, on a simulated cluster with one fault. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Cluster } from "./cluster.ts";
import { endToEnd } from "./e2e.ts";
import { imagine } from "./rehearsal.ts";
import type { Tools } from "./tools.ts";

beforeEach(() => {
  for (const method of ["log", "error"] as const) vi.spyOn(console, method).mockImplementation(() => undefined);
});
afterEach(() => vi.restoreAllMocks());

/** The failures of a cluster on which a command that matches `wrong` prints `instead`. */
function failuresOf(wrong: RegExp, instead: (output: string) => string, families: "ipv4" | "dual" = "ipv4"): string[] {
  const earlier: (readonly string[])[] = [["kind", "create", "cluster", `cluster-${families}.yaml`]];
  const answer = (words: readonly string[]) => {
    const output = imagine(words, earlier);
    earlier.push(words);
    return wrong.test(words.join(" ")) ? instead(output) : output;
  };
  const tools: Tools = { run: (...words) => void answer(words), ask: (...words) => answer(words) };
  return endToEnd(new Cluster("weft", tools, "/repository"), "/repository", 0);
}

const NOTHING = /^$/;
const same = (output: string) => output;

test.each(["ipv4", "dual"] as const)("a healthy cluster, %s, has no failures", (families) => {
  expect(failuresOf(NOTHING, same, families)).toEqual([]);
});

/** Changes one URL's answer. */
const change = (url: string, answer: object) => (output: string) =>
  JSON.stringify({ ...JSON.parse(output), [url]: answer });

test.each([
  [
    "a pod without an answer",
    /exec first-0 /,
    change("http://10.244.2.2:8080/", { error: "ETIMEDOUT" }),
    /^vxlan: pod to pod: first-0 asks http:\/\/10\.244\.2\.2:8080\/: ETIMEDOUT$/,
  ],
  [
    "a pod seen with another address",
    /exec first-0 /,
    change("http://10.244.2.2:8080/", { pod: "first-1", client: "172.18.0.2" }),
    /is seen as 172\.18\.0\.2, expected 10\.244\.1\.2$/,
  ],
  [
    "a pod that answers in place of another",
    /exec first-0 /,
    change("http://10.244.2.2:8080/", { pod: "second-1", client: "10.244.1.2" }),
    /second-1 answers, expected first-1$/,
  ],
  [
    "a Service that does not answer",
    /exec second-2 /,
    change("http://10.96.0.80:80/", { error: "ECONNREFUSED" }),
    /^vxlan: Service: second-2 asks/,
  ],
  [
    "an unknown name",
    /exec second-2 /,
    change("http://echo.weft-e2e.svc.cluster.local:80/", { error: "ENOTFOUND" }),
    /^vxlan: name: .*ENOTFOUND$/,
  ],
  [
    "a node without an answer from a pod",
    /exec weft-worker sh/,
    (output: string) => output.replace(/^(http:\/\/10\.244\.1\.2:8080\/) .*$/m, "$1 "),
    /^vxlan: node to pod: weft-worker asks http:\/\/10\.244\.1\.2:8080\/: no answer$/,
  ],
  [
    "a host port that leads to another node's pod",
    /exec weft-worker sh/,
    (output: string) => output.replace(/^(http:\/\/172\.18\.0\.2:18080\/) .*$/m, '$1 {"pod":"first-2"}'),
    /^vxlan: host port: weft-worker asks .*: first-2 answers, expected first-0$/,
  ],
])("%s is a failure with each backend", (_what, wrong, instead, message) => {
  const failures = failuresOf(wrong, instead);
  expect(failures[0]).toMatch(message);
  expect(failures.map((failure) => failure.replace(/:.*/, ""))).toEqual(["vxlan", "host-gw"]);
});

test("routes of the other backend are a failure: the overlay is not applied", () => {
  const swap = (output: string) => output.replaceAll("flannel.1", "eth0");
  expect(failuresOf(/route show proto 119/, swap)[0]).toMatch(
    /^vxlan: weft-control-plane has 0 routes of this backend \(ip -4\), expected 2$/,
  );
});

test("a missing pod is an error, not a smaller number of pairs", () => {
  expect(() => failuresOf(/get pods/, () => '{"items":[]}')).toThrow(
    "there are 0 pods: expected two on each of 3 nodes",
  );
});
