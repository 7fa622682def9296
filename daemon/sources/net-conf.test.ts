import { globSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SYSTEM_CLOCK } from "../../pkg/cluster/clock.ts";
import { openLog } from "../core/log.ts";
import { NetConfHolder } from "./net-conf.ts";

const log = openLog("fatal", "n1");
const offered = join(import.meta.dirname, "../conf");
const examples = globSync("**/net-conf.json", { cwd: offered });

test.each(examples)("parses conf/%s without warnings", async (path) => {
  const { conf, text } = (await NetConfHolder.open(join(offered, path), log)).current;
  expect(conf.backend.type).toBe(path.includes("/host-gw/") ? "host-gw" : "vxlan");
  expect(conf.warnings).toEqual([]);
  expect(JSON.parse(text)).toHaveProperty("Network");
});

test("the error for a missing file names the file and the flag", async () => {
  await expect(NetConfHolder.open("/nonexistent/net-conf.json", log)).rejects.toThrow(
    /ENOENT.*\/nonexistent\/net-conf\.json.*--net-conf/,
  );
});

test("the error for an invalid configuration names the file", async () => {
  await expect(NetConfHolder.open(import.meta.filename, log)).rejects.toThrow(/net-conf\.test\.ts: .*not/);
});

describe("while it is watched", () => {
  let folder = "";
  let path = "";
  let warnings: readonly string[] = [];
  const onChange = vi.fn();
  const text = (type: string) => JSON.stringify({ Network: "10.244.0.0/16", Backend: { Type: type } });
  const health = {
    warns: (_topic: string, reasons: readonly string[]) => {
      warnings = reasons;
    },
  };
  let holder: NetConfHolder;
  let close = () => {};

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "weftd-net-conf-"));
    path = join(folder, "net-conf.json");
    warnings = [];
    onChange.mockClear();
    // The layout of a ConfigMap mounted by kubelet.
    mkdirSync(join(folder, "..1"));
    writeFileSync(join(folder, "..1/net-conf.json"), text("vxlan"));
    symlinkSync("..1", join(folder, "..data"));
    symlinkSync("..data/net-conf.json", path);
    holder = await NetConfHolder.open(path, log);
    close = holder.follow({ clock: SYSTEM_CLOCK, health, log, onChange });
  });
  afterEach(() => {
    close();
    rmSync(folder, { recursive: true });
  });

  test("applies a changed ConfigMap", async () => {
    mkdirSync(join(folder, "..2"));
    writeFileSync(join(folder, "..2/net-conf.json"), text("host-gw"));
    symlinkSync("..2", join(folder, "..new"));
    renameSync(join(folder, "..new"), join(folder, "..data"));
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(1), { timeout: 5000 });
    expect(holder.current.conf.backend.type).toBe("host-gw");
    expect(holder.current.text).toBe(text("host-gw"));
  });

  test("reports an invalid or missing file, and keeps the last valid one", async () => {
    writeFileSync(join(folder, "..1/net-conf.json"), text("carrier-pigeon"));
    writeFileSync(join(folder, "something-else"), "");
    await vi.waitFor(() => expect(warnings.join()).toMatch(/carrier-pigeon.*stays in force/), { timeout: 5000 });
    rmSync(path);
    await vi.waitFor(() => expect(warnings.join()).toMatch(/ENOENT.*stays in force/), { timeout: 5000 });
    expect(holder.current.conf.backend.type).toBe("vxlan");
    expect(onChange).not.toHaveBeenCalled();
    writeFileSync(path, text("host-gw"));
    await vi.waitFor(() => expect(onChange).toHaveBeenCalledTimes(1), { timeout: 5000 });
    expect(warnings).toEqual([]);
  });

  test("an unchanged text is not a change", async () => {
    writeFileSync(path, text("vxlan"));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(onChange).not.toHaveBeenCalled();
  });
});
