import { expect, test } from "vitest";
import { deleteLink } from "../pkg/kernel/link.ts";
import { NetlinkError } from "../pkg/netlink/errors.ts";
import { SystemError } from "../pkg/sys/errors.ts";
import { FakeSystem } from "../pkg/sys/fake.ts";
import { runCommand } from "./main.ts";
import { CommandError, ExitStatus, text } from "./outcome.ts";
import { declareSubcommand, type Subcommand } from "./subcommand.ts";

const build = { version: "1.2.3", id: "0123456789abcdef", commit: "abc123", pluginNames: ["bridge", "ptp"] };
const EPERM = 1;
const EBUSY = 16;
const ENOSPC = 28;

/** Returns its input as data. The first argument selects how the run ends. */
const echo = declareSubcommand({
  name: "echo",
  group: "Inspect",
  summary: "repeat the input",
  description: ["First paragraph.", "Second paragraph."],
  arguments: {
    what: { value: "WHAT", about: "what to say" },
    how: { value: "HOW", about: "how", isOptional: true, choices: ["loud", "low"] },
  },
  options: {
    dryRun: { kind: "flag", about: "print nothing" },
    dataDir: { kind: "text", value: "DIR", about: "where", default: "/data" },
    timeout: { kind: "number", value: "MS", about: "how long", default: 50, minimum: 1, maximum: 1000 },
    only: { kind: "list", value: "NAME,...", about: "which", choices: ["a", "b"] },
    mode: { kind: "text", short: "m", value: "MODE", about: "which way", choices: ["fast", "slow"] },
  },
  examples: [{ line: "echo hello --dry-run", about: "prints nothing" }],
  printsData: true,
  run({ system, arguments: { what, how }, options, progress }) {
    progress("working");
    if (what === "refuse") throw new CommandError("not allowed", { status: ExitStatus.refused, remedy: "Ask." });
    if (what === "full") throw new SystemError("write", "/data", ENOSPC);
    if (what === "forbidden") throw new NetlinkError(deleteLink("cni0"), EPERM, undefined, "this namespace");
    if (what === "unreadable") throw new SystemError("open", "/data", EPERM);
    if (what === "busy") throw new NetlinkError(deleteLink("cni0"), EBUSY, undefined, "this namespace");
    if (what === "bug") throw new TypeError("undefined is not a function");
    return {
      status: ExitStatus.done,
      blocks: [
        text({ text: what, tone: "good" }),
        {
          kind: "table",
          head: ["A", "LAST"],
          rows: [["日本", { text: "a rather long text in the last column", tone: "bad" }]],
        },
      ],
      data: { what, how: how ?? null, ...options, now: system.now() },
    };
  },
});

const second = (name: string): Subcommand => ({ ...echo, name });
const ALL = [echo, second("ipam ls"), second("ipam gc")];

function call(words: string, options: ConstructorParameters<typeof FakeSystem>[0] = {}) {
  const system = new FakeSystem({ args: ["/opt/cni/bin/weft", ...words.split(" ").filter(Boolean)], ...options });
  const status = runCommand(system, build, ALL);
  return { status, output: system.output, errorOutput: system.errorOutput };
}

test("passes arguments and options with their types and defaults", () => {
  const { status, output } = call("echo hello -o json");
  expect(status).toBe(0);
  expect(JSON.parse(output)).toMatchObject({
    what: "hello",
    how: null,
    dryRun: false,
    dataDir: "/data",
    timeout: 50,
    only: [],
  });
  const given = call("echo hello loud --dry-run --data-dir=/d --timeout 7 --only b,a -m slow --output json");
  expect(JSON.parse(given.output)).toMatchObject({
    how: "loud",
    dryRun: true,
    dataDir: "/d",
    timeout: 7,
    only: ["b", "a"],
    mode: "slow",
  });
});

test.each([
  ["echoo x", "weft: unknown command 'echoo'\n(Did you mean echo?)\n"],
  ["ipam", "Usage: weft ipam SUBCOMMAND"],
  ["ipam l", "unknown command 'l'"],
  ["help ech", "weft: unknown command 'ech'\n(Did you mean echo?)\n"],
  ["echo x --dri-run", "weft: unknown option '--dri-run'\n(Did you mean --dry-run?)"],
  ["--verson", "weft: unknown option '--verson'\n(Did you mean --version?)"],
  ["echo", "missing required argument 'WHAT'"],
  ["echo a loud b", "too many arguments"],
  ["echo a middling", "Allowed choices are loud, low"],
  ["echo a --timeout 0", "Expected a whole number from 1 to 1000."],
  ["echo a --timeout 1e2", "Expected a whole number from 1 to 1000."],
  ["echo a --only a,c", '"c" is not one of a, b.'],
  ["echo a -o yaml", "Allowed choices are table, json."],
])("weft %s exits with status 2 and prints to standard error only", (words, complaint) => {
  const { status, output, errorOutput } = call(words);
  expect(errorOutput).toContain(complaint);
  expect(errorOutput).not.toContain("weft: Usage");
  expect({ status, output }).toEqual({ status: ExitStatus.usage, output: "" });
});

test.each([
  [["echo", ""], "The value is empty."],
  [["echo", "a", "--data-dir", ""], "The value is empty."],
  [["echo", "a", "--data-dir="], "The value is empty."],
  [["echo", "a", "--only", ""], "The list is empty."],
  [["echo", "a", "--only", ","], "The list is empty."],
])("rejects an empty value: %j", (words, complaint) => {
  const system = new FakeSystem({ args: ["weft", ...words] });
  expect(runCommand(system, build, ALL)).toBe(ExitStatus.usage);
  expect(system.errorOutput).toContain(complaint);
  expect(system.output).toBe("");
});

test.each(["", "help", "--help", "-h"])("weft %s prints groups, examples and exit statuses", (words) => {
  const { status, output, errorOutput } = call(words);
  expect({ status, errorOutput }).toEqual({ status: 0, errorOutput: "" });
  for (const part of [
    "\nInspect:\n",
    "  echo",
    "repeat the input",
    "  ipam",
    "Exit status:\n  0  success",
    "Examples:",
    "NO_COLOR",
  ])
    expect(output).toContain(part);
});

test.each(["help echo", "echo --help", "echo -h"])("weft %s prints the help of a subcommand", (words) => {
  const { status, output } = call(words);
  expect(status).toBe(0);
  for (const part of [
    "Usage: weft echo",
    "Second paragraph.",
    "--timeout <MS>",
    "default: 50",
    "weft echo hello --dry-run  prints",
  ])
    expect(output).toContain(part);
});

test("weft help accepts the first word of a subcommand, and both words", () => {
  expect(call("help ipam").output).toContain("Usage: weft ipam SUBCOMMAND");
  expect(call("help ipam gc").output).toContain("Usage: weft ipam gc");
});

test("help is as wide as COLUMNS, or as the terminal if COLUMNS is unset", () => {
  const widest = (text: string) => Math.max(...text.split("\n").map((line) => line.length));
  const { output } = call("echo --help", { environment: { COLUMNS: "70" } });
  expect(widest(output)).toBeLessThanOrEqual(70);
  expect(widest(call("echo --help", { terminal: { columns: 80 } }).output)).toBeLessThanOrEqual(80);
});

test("--version prints one line with build and commit", () => {
  expect(call("--version").output).toBe("weft 1.2.3 (build 0123456789abcdef, commit abc123)\n");
});

test("prints tables without colours and line breaks if there is no terminal", () => {
  expect(call("echo hello").output).toBe(
    ["hello", "A     LAST", "日本  a rather long text in the last column", ""].join("\n"),
  );
});

test("uses colours and wraps the last column on a terminal", () => {
  const terminal = { columns: 32 };
  const { output, errorOutput } = call("echo hello", { terminal, environment: { TERM: "xterm" } });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colour sequences begin with this character
  expect(output.replace(/\u001b\[[0-9;]*m/g, "").split("\n")).toEqual([
    "hello",
    "A     LAST",
    "日本  a rather long text in the",
    "      last column",
    "",
  ]);
  expect(output).toContain("\u001b[32mhello\u001b[0m");
  expect(errorOutput).toBe("\r\u001b[Kworking\r\u001b[K");
});

test.each([{ NO_COLOR: "1", TERM: "xterm" }, { TERM: "dumb" }])("prints no colours with %j", (environment) => {
  expect(call("echo hello", { terminal: { columns: 80 }, environment }).output).not.toContain("\u001b");
});

test("a failure is printed with its remedy and sets the exit status", () => {
  expect(call("echo refuse -o json")).toEqual({
    status: ExitStatus.refused,
    output: "",
    errorOutput: "weft echo: not allowed\nAsk.\n",
  });
  expect(call("echo full")).toEqual({
    status: ExitStatus.failed,
    output: "",
    errorOutput: "weft echo: write /data: no space left (ENOSPC)\n",
  });
  expect(call("echo busy").errorOutput).toBe(
    "weft echo: ip link del cni0 in this namespace: device or resource busy (EBUSY)\n",
  );
  expect(call("echo bug").errorOutput).toMatch(/^weft echo: internal error: undefined is not a function\n/);
});

test.each([
  ["forbidden", "ip link del cni0 in this namespace"],
  ["unreadable", "open /data"],
])("a permission error (%s) advises to run as root", (what, attempted) => {
  expect(call(`echo ${what}`)).toEqual({
    status: ExitStatus.failed,
    output: "",
    errorOutput: `weft echo: ${attempted}: operation not permitted (EPERM)\nRun the command as root.\n`,
  });
});

test("returns a CNI error if a runtime calls the file by an unknown plugin name", () => {
  const system = new FakeSystem({ args: ["/opt/cni/bin/calico"], environment: { CNI_COMMAND: "ADD" } });
  expect(runCommand(system, build, ALL)).toBe(1);
  expect(JSON.parse(system.output)).toMatchObject({ code: 4, details: "this file contains: bridge, ptp" });
});
