import { expect, test } from "vitest";
import { FAMILIES, SUBCOMMANDS } from "../subcommands.ts";
import { candidatesFor } from "./candidates.ts";

const build = { version: "1", id: "x", commit: "", pluginNames: ["bridge", "ptp", "portmap"] };
const offer = (line: string) => candidatesFor(line.split(" "), { subcommands: SUBCOMMANDS, families: FAMILIES, build });

/** Returns the values, or "<kind>" if the shell lists the candidates itself. */
function values(line: string): string[] {
  const offered = offer(line);
  return offered.kind === "values" ? offered.values.map(({ value }) => value) : [`<${offered.kind}>`];
}

test("offers names of subcommands with their summaries", () => {
  expect(values("")).toEqual(
    expect.arrayContaining(["install", "ipam", "cleanup", "completions", "help", "--version"]),
  );
  expect(offer("ins")).toEqual({
    kind: "values",
    values: [{ value: "install", about: "install the plugins for the container runtime" }],
  });
  expect(values("--v")).toEqual(["--version"]);
  expect(values("nonsense ")).toEqual([]);
});

test("completes subcommands of two words, and their help", () => {
  expect(values("ipam ")).toEqual(["ls", "gc", "--help"]);
  expect(values("ipam g")).toEqual(["gc"]);
  expect(values("help ip")).toEqual(["ipam"]);
  expect(values("help ipam ")).toEqual(["ls", "gc"]);
  expect(values("help ipam gc ")).toEqual([]);
});

test.each([
  ["install --d", ["--discard-replaced", "--dry-run"]],
  ["install --dry-run --d", ["--discard-replaced"]],
  ["install /opt/cni/bin --k", ["--keep-existing"]],
  ["install ", ["<directories>"]],
  ["install /opt", ["<directories>"]],
  ["install --dry-run ", ["<directories>"]],
  ["install --only bridge ", ["<directories>"]],
  ["install /opt/cni/bin ", []],
  ["install --only p", ["ptp", "portmap"]],
  ["install --only bridge,p", ["bridge,ptp", "bridge,portmap"]],
  ["install --only=ptp,", ["--only=ptp,bridge", "--only=ptp,portmap"]],
  ["install -o ", ["table", "json"]],
  ["install --output j", ["json"]],
  ["install --output = j", ["json"]],
  ["install --output =", ["table", "json"]],
  ["install --output=t", ["--output=table"]],
  ["ipam gc --grace-seconds ", []],
  ["ipam gc --yes --data-dir ", ["<directories>"]],
  ["completions ", ["bash", "zsh", "fish"]],
  ["completions b", ["bash"]],
  ["version -", ["--output", "--help"]],
])("completes weft %s", (line, expected) => {
  expect(values(line)).toEqual(expected);
});
