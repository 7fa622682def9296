import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openLog } from "./log.ts";
import { readNetConf } from "./net-conf.ts";

const log = openLog("fatal", "n1");
const examples = join(import.meta.dirname, "../conf/net-conf");

test.each(readdirSync(examples))("the example %s is read without a warning", async (name) => {
  const { conf, text } = await readNetConf(join(examples, name), log);
  expect(conf.backend.type).toBe(name.replace(".json", ""));
  expect(conf.warnings).toEqual([]);
  expect(JSON.parse(text)).toHaveProperty("Network");
});

test("a missing file is an error that names it and the flag", async () => {
  await expect(readNetConf("/nonexistent/net-conf.json", log)).rejects.toThrow(
    /ENOENT.*\/nonexistent\/net-conf\.json.*--net-conf/,
  );
});

test("a file that is no configuration is an error that names it", async () => {
  await expect(readNetConf(import.meta.filename, log)).rejects.toThrow(/net-conf\.test\.ts: .*not/);
});
